import json
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from elexirion_dagster.errors import InputError
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer

ASK = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}
PATHS = ("/v1/messages", "/v1/chat/completions")


@pytest.fixture
def played():
    servers = []

    def start(**script):
        server = RehearsalServer(Script.model_validate(script)).__enter__()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.__exit__(None, None, None)


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_says_that_it_is_a_script(played, path):
    answer = httpx.post(played().base_url + path, json=ASK)
    assert answer.headers["x-elexirion-rehearsal"] == "script"
    assert answer.json()["model"] == "rehearsal-script"


@pytest.mark.parametrize("path", PATHS)
def test_keys_are_never_recorded(played, path):
    server = played()
    httpx.post(server.base_url + path, json=ASK, headers={"x-api-key": "sk-1", "authorization": "Bearer sk-2"})
    assert "sk-" not in repr(server.requests)
    assert server.requests[0].body == ASK


@pytest.mark.parametrize(("path", "last"), [(PATHS[0], "event: message_stop"), (PATHS[1], "data: [DONE]")])
def test_a_stream_ends_with_its_last_event(played, path, last):
    answer = httpx.post(played(answers=[{"text": "x" * 100}]).base_url + path, json={**ASK, "stream": True})
    assert answer.headers["content-type"] == "text/event-stream"
    assert last in answer.text.strip().split("\n\n")[-1]


def test_one_connection_carries_many_requests(played):
    server = played()
    with httpx.Client() as client:
        ports = {
            client.post(server.base_url + PATHS[0], json=ASK).extensions["network_stream"].get_extra_info("client_addr")
            for _ in range(5)
        }
    assert (len(ports), server.count) == (1, 5)


def test_models_and_token_counts_are_not_model_calls(played):
    server = played(models=["one", "two"])
    listed = httpx.get(server.base_url + "/v1/models").json()
    counted = httpx.post(server.base_url + "/v1/messages/count_tokens", json=ASK).json()
    assert [model["id"] for model in listed["data"]] == ["one", "two"]
    assert counted == {"input_tokens": 1}
    assert server.count == 0


def test_hints_travel_as_headers(played):
    server = played(faults=[{"kind": "status", "status": 429, "retry_after_s": 3600, "retry_after_ms": 1500}])
    answer = httpx.post(server.base_url + PATHS[0], json=ASK)
    assert (answer.status_code, answer.headers["retry-after"], answer.headers["retry-after-ms"]) == (
        429,
        "3600",
        "1500",
    )
    assert answer.json()["error"]["type"] == "rate_limit_error"


@pytest.mark.parametrize("path", PATHS)
def test_a_reset_is_a_reset(played, path):
    server = played(faults=[{"kind": "reset"}])
    with pytest.raises(httpx.ReadError):
        httpx.post(server.base_url + path, json=ASK)


@pytest.mark.parametrize("path", PATHS)
def test_a_dirty_cut_breaks_the_transfer(played, path):
    server = played(faults=[{"kind": "cut", "clean": False}])
    for stream in (False, True):
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.post(server.base_url + path, json={**ASK, "stream": stream})


def test_bytes_that_are_no_request_are_refused_and_the_server_lives(played):
    server = played()
    host, port = server.base_url.removeprefix("http://").split(":")
    for hostile in (
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\ncontent-length: -4\r\n\r\n",
        b"A" * 200_000,
        b"POST / HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ):
        with socket.create_connection((host, int(port))) as peer:
            peer.sendall(hostile)
            assert peer.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert httpx.post(server.base_url + PATHS[0], json=ASK).status_code == 200


def test_an_unknown_path_is_not_found(played):
    assert httpx.get(played().base_url + "/v2").status_code == 404


def test_it_listens_on_loopback_only(played):
    assert played().base_url.startswith("http://127.0.0.1:")


def test_leaving_ends_calls_that_are_under_way():
    with RehearsalServer(Script(latency_ms=60_000)) as server:
        host, port = server.base_url.removeprefix("http://").split(":")
        peer = socket.create_connection((host, int(port)))
        body = json.dumps(ASK).encode()
        peer.sendall(
            b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        )
        while not server.peak_in_flight:
            pass
    with peer, pytest.raises(ConnectionResetError):
        peer.recv(1)


def test_a_taken_port_is_named():
    with RehearsalServer() as server, pytest.raises(InputError, match="port"):
        RehearsalServer(port=int(server.base_url.rpartition(":")[2])).__enter__()


def test_it_runs_as_its_own_process(tmp_path):
    script = tmp_path / "script.yaml"
    script.write_text("answers: [{text: hello}]")
    command = [sys.executable, "-m", "elexirion_dagster.rehearsal.server", str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().strip()
        answer = httpx.post(f"{url}/v1/messages", json=ASK).json()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert answer["content"] == [{"type": "text", "text": "hello"}]


def test_a_broken_script_ends_the_process_with_its_reason(tmp_path):
    script = tmp_path / "script.yaml"
    script.write_text("answer: 1")
    command = [sys.executable, "-m", "elexirion_dagster.rehearsal.server", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "script.yaml:1:" in done.stderr


GEMINI_ASK = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
GEMINI = "/v1beta/models/gemini-2.5-flash"


def events(answer):
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\r\n\r\n") if line]


def test_gemini_is_spoken_plainly(played):
    answer = httpx.post(f"{played().base_url}{GEMINI}:generateContent", json=GEMINI_ASK)
    assert answer.headers["x-elexirion-rehearsal"] == "script"
    body = answer.json()
    assert body["modelVersion"] == "rehearsal-script"
    assert body["candidates"][0]["finishReason"] == "STOP"
    assert body["usageMetadata"]["totalTokenCount"] == 1 + body["usageMetadata"]["candidatesTokenCount"]


def test_a_gemini_stream_is_events_when_asked_for_and_one_array_otherwise(played):
    url = f"{played(answers=[{'text': 'x' * 100}]).base_url}{GEMINI}:streamGenerateContent"
    sse, array = httpx.post(f"{url}?alt=sse", json=GEMINI_ASK), httpx.post(url, json=GEMINI_ASK)
    assert sse.headers["content-type"] == "text/event-stream"
    assert array.headers["content-type"].startswith("application/json")
    for chunks in (events(sse), array.json()):
        assert len(chunks) > 3
        assert [chunk["candidates"][0].get("finishReason") for chunk in chunks[-2:]] == [None, "STOP"]


def test_gemini_counts_tokens_without_a_model_call(played):
    server = played()
    assert httpx.post(f"{server.base_url}{GEMINI}:countTokens", json=GEMINI_ASK).json() == {"totalTokens": 1}
    assert server.count == 0


def test_gemini_errors_carry_their_hint_in_the_body(played):
    fault = {"kind": "status", "status": 429, "retry_after_s": 2, "retry_after_ms": 1500, "error_code": "X"}
    answer = httpx.post(f"{played(faults=[fault]).base_url}{GEMINI}:generateContent", json=GEMINI_ASK)
    assert "retry-after" not in answer.headers
    assert answer.json()["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert [detail.get("retryDelay", detail.get("reason")) for detail in answer.json()["error"]["details"]] == [
        "1.5s",
        "X",
    ]


def test_gemini_enums_are_numbers_when_asked_for(played):
    url = f"{played().base_url}{GEMINI}:generateContent?%24alt=json%3Benum-encoding%3Dint"
    assert httpx.post(url, json=GEMINI_ASK).json()["candidates"][0]["finishReason"] == 1


def test_a_gemini_request_without_contents_is_refused(played):
    assert httpx.post(f"{played().base_url}{GEMINI}:generateContent", json=ASK).status_code == 400


ALL = {
    **dict.fromkeys(PATHS, ASK),
    f"{GEMINI}:generateContent": GEMINI_ASK,
    f"{GEMINI}:streamGenerateContent": GEMINI_ASK,
}


@pytest.mark.parametrize("path", ALL)
@pytest.mark.parametrize("fault", [{"kind": "slow_drip", "size": 7, "every_ms": 0}, {"kind": "wrong_content_type"}])
def test_a_drip_and_a_wrong_content_type_leave_the_body_as_it_is(played, path, fault):
    server = played(answers=[{"text": "x" * 100}], faults=[{**fault, "nth": 1}])
    for stream in ({}, {"stream": True}) if "messages" in ALL[path] else ({},):
        first, second = (httpx.post(server.base_url + path, json={**ALL[path], **stream}) for _ in range(2))
        assert len(first.content) == len(second.content)
        assert (first.headers["content-type"] == "text/plain") is (fault["kind"] == "wrong_content_type")
        server = played(answers=[{"text": "x" * 100}], faults=[{**fault, "nth": 1}])


@pytest.mark.parametrize("path", ALL)
def test_a_reply_of_five_megabytes_is_played_whatever_max_tokens_says(played, path):
    answer = httpx.post(played(answers=[{"text": "abc", "size_kb": 5000}]).base_url + path, json=ALL[path])
    assert answer.text.count("a") > 1_660_000


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:3000"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"host": "evil.example"},
        {"host": "192.168.0.7"},
        {"host": ""},
    ],
)
@pytest.mark.parametrize("path", ALL)
def test_web_pages_use_up_no_answer(played, path, headers):
    server = played()
    for kind in ("text/plain", "application/json"):
        sent = {"content-type": kind, **headers}
        answer = httpx.post(server.base_url + path, content=json.dumps(ALL[path]), headers=sent)
        assert answer.status_code == 403
    assert httpx.get(f"{server.base_url}/v1/models", headers=headers).status_code == 403
    assert (server.count, len(server.requests)) == (0, 0)


def test_a_request_with_two_hosts_or_none_is_refused(played):
    server = played()
    port = int(server.base_url.rsplit(":", 1)[1])
    for hosts in ("", "Host: localhost\r\nHost: evil.example\r\n"):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(f"GET /v1/models HTTP/1.1\r\n{hosts}\r\n".encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
