"""Each rule of the guard, over Dagster's real application."""

import asyncio
import json
from collections.abc import Iterator

import pytest
from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError
from gql.transport.requests import RequestsHTTPTransport
from served import Served, client, listening, mutation, opened, send_raw
from served import guard as guarded
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from elexirion_dagster.web.guard import MOST_BODY_BYTES, MOST_FRAME_BYTES

OWN = "http://127.0.0.1:3000"
QUERY = "{ version }"
SUBSCRIPTION = "subscription { locationStateChangeEvents { event { message } } }"
HIDDEN = {
    "plain": mutation("x"),
    "after a byte order mark": "\ufeff" + mutation("x"),
    "after comments and line ends": f"# query {{ version }}\n\r\n,,,{mutation('x')}",
    "as the second operation": f"query A {{ version }} {mutation('x').replace('mutation', 'mutation B')}",
    "with a fragment before it": f"fragment F on Query {{ version }} {mutation('x')}",
    "with aliases": 'mutation { a: setConcurrencyLimit(concurrencyKey: "x", limit: 1) }',
    "with a directive": 'mutation @skip(if: false) { setConcurrencyLimit(concurrencyKey: "x", limit: 1) }',
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with opened(tmp_path_factory.mktemp("dagster")) as served:
        yield served


@pytest.fixture
def ask(served: Served):
    """Send one request in this process: its answer, and what it changed."""

    def send(method, path, *, guard=None, url=OWN, **options):
        async def once():
            async with client(guard or guarded(served.app), url) as asking:
                return await asking.request(method, path, **options)

        return asyncio.run(once()), served.changes()

    return send


@pytest.fixture(scope="module")
def port(served: Served) -> Iterator[int]:
    with listening(guarded(served.app)) as port:
        yield port


def hosted(ask, host, guard=None, **headers):
    return ask("GET", "/server_info", guard=guard, headers={"host": host, **headers})[0].status_code


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:3000", "localhost.:1", "127.0.0.1:65535", "127.8.9.1", "[::1]", "[::1]:3000"]
)
def test_loopback_names_are_answered_at_any_port(ask, host):
    assert hosted(ask, host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:3000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.localhost",
        "localhost@evil.example",
        "user@localhost",
        "user:pass@127.0.0.1",
        "0.0.0.0:3000",
        "[::]:3000",
        "[::ffff:127.0.0.1]:3000",
        "[::1%25lo]",
        "[::1",
        "::1",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "localhost:",
        "localhost:99999",
        "localhost:port",
        "localhost, evil.example",
        "localhost/x",
        "192.168.0.7",
        "loc\xe4lhost",
        "",
    ],
)
def test_other_hosts_are_refused_with_the_way_out(ask, host):
    answer, _ = ask("GET", "/", headers={"host": host.encode("latin-1")})
    assert answer.status_code == 421
    assert "ELEXIRION_HOSTS" in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_a_named_host_is_answered_and_no_other(ask, served):
    guard = guarded(served.app, hosts=["ai.example.com"])
    assert hosted(ask, "ai.example.com:8443", guard) == hosted(ask, "AI.Example.COM.", guard) == 200
    assert hosted(ask, "localhost", guard) == 200
    assert hosted(ask, "www.ai.example.com", guard) == hosted(ask, "ai.example.co", guard) == 421


def test_a_request_needs_exactly_one_host(port):
    for hosts in ([], ["Host: localhost", "Host: localhost"], ["Host: localhost", "Host: evil.example"]):
        answer = send_raw(port, ["GET /server_info HTTP/1.1", *hosts])
        assert answer.split()[1] in {"400", "421"}, hosts
    assert send_raw(port, ["GET /server_info HTTP/1.0", "Host: localhost"]).split()[1] == "200"


def test_a_target_with_a_host_of_its_own_does_not_replace_the_header(port):
    assert send_raw(port, ["GET http://localhost/server_info HTTP/1.1", "Host: evil.example"]).split()[1] == "421"
    assert send_raw(port, ["OPTIONS * HTTP/1.1", "Host: localhost"]).split()[1] == "400"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://127.0.0.1"},
        {"origin": "http://127.0.0.1:3001"},
        {"origin": "https://127.0.0.1:3000"},
        {"origin": "http://localhost:3000"},
        {"origin": "http://127.0.0.1:3000.evil.example"},
        {"origin": "http://127.0.0.1:3000@evil.example"},
        {"origin": "file://"},
        {"origin": "chrome-extension://abcdefgh"},
        {"origin": "http://127.0.0.1:3000, http://evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "anything"},
        {"origin": OWN, "sec-fetch-site": "cross-site"},
    ],
    ids=str,
)
def test_other_pages_are_refused_for_every_method_and_path(served, headers):
    async def answers():
        async with client(guarded(served.app), OWN) as asking:
            sent = {**headers, "content-type": "application/json"}
            for path in ("/", "/graphql?query={version}", "/favicon.png", "/logs/a/b.out"):
                for method in ("GET", "HEAD", "POST", "OPTIONS", "PUT", "TRACE"):
                    yield await asking.request(method, path, headers=sent, content=b"{}")

    async def check():
        async for answer in answers():
            assert answer.status_code == 403
            assert "ELEXIRION_HOSTS" in answer.text or answer.request.method == "HEAD"
            assert not {name for name in answer.headers if name.startswith("access-control")}

    asyncio.run(check())


def test_two_origins_are_no_origin(port):
    own = f"http://127.0.0.1:{port}"
    for origins, status in ([[own], "200"], [[own, own], "403"], [[own, "http://evil.example"], "403"]):
        lines = ["GET /server_info HTTP/1.1", f"Host: 127.0.0.1:{port}", *(f"Origin: {origin}" for origin in origins)]
        assert send_raw(port, lines).split()[1] == status


NAVIGATION = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


@pytest.mark.parametrize("path", ["/", "/runs/7d0b5c8f", "/locations/elexirion_dagster/jobs/nightly_scan"])
def test_a_link_from_anywhere_opens_a_page(ask, path):
    answer, _ = ask("GET", path, headers=NAVIGATION)
    assert answer.status_code == 200
    assert "<html" in answer.text


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/", {"sec-fetch-dest": "iframe"}),
        ("GET", "/", {"sec-fetch-dest": "object"}),
        ("GET", "/", {"sec-fetch-dest": "embed"}),
        ("GET", "/", {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}),
        ("GET", "/", {"sec-fetch-mode": "cors"}),
        ("POST", "/", {}),
        ("HEAD", "/", {}),
        ("GET", "/", {"host": "evil.example"}),
        ("GET", "/graphql?query={version}", {}),
        ("GET", "/graphql", {"accept": "text/html"}),
        ("GET", "/%67raphql?query={version}", {}),
        ("GET", "/graphql%0A?query={version}", {}),
        ("GET", "/notebook?repoLocName=x&path=/tmp/x.ipynb", {}),
        ("GET", "/dagit/notebook?repoLocName=x&path=/tmp/x.ipynb", {}),
    ],
)
def test_a_link_opens_nothing_else(ask, method, path, headers):
    answer, _ = ask(method, path, headers={**NAVIGATION, **headers})
    assert answer.status_code in {400, 403, 421}


@pytest.mark.parametrize(
    "path", ["/", "/graphql", "/favicon.png", "/logs/a/b.out", "/notebook?path=x", "/no/such/page"]
)
def test_no_answer_may_be_shown_in_a_frame(ask, path):
    answer, _ = ask("GET", path, headers={"accept": "text/html"})
    assert answer.headers.get_list("x-frame-options") == ["DENY"]
    assert answer.headers.get_list("content-security-policy")[-1] == "frame-ancestors 'none'"


def test_the_policy_of_dagster_stays(ask):
    first, last = ask("GET", "/")[0].headers.get_list("content-security-policy")
    assert "script-src 'nonce-" in first
    assert last == "frame-ancestors 'none'"


@pytest.mark.parametrize("headers", [{}, {"origin": OWN, "sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}])
def test_programs_and_own_pages_may_send_mutations_as_json(ask, headers):
    for kind in ("application/json", "application/json; charset=utf-8"):
        body = json.dumps({"query": mutation("x")})
        answer, changed = ask("POST", "/graphql", content=body, headers={**headers, "content-type": kind})
        assert (answer.status_code, changed) == (200, {"x"})


@pytest.mark.parametrize("document", HIDDEN.values(), ids=HIDDEN)
@pytest.mark.parametrize("path", ["/graphql", "/%67raphql", "/graphql%0A"])
def test_no_mutation_comes_by_get(ask, document, path):
    for operation in ({}, {"operationName": "A"}, {"operationName": "B"}):
        answer, changed = ask("GET", path, params={"query": document, **operation})
        assert (answer.status_code in {400, 405}, changed) == (True, set())


def test_get_reads_the_same_parameter_as_dagster(ask):
    for params in ([("query", QUERY), ("query", mutation("x"))], [("query", mutation("x")), ("query", QUERY)]):
        answer, changed = ask("GET", "/graphql", params=params)
        assert (answer.status_code, changed) == (405, set())
    assert ask("GET", "/graphql", params={"query": QUERY})[0].json()["data"]["version"]
    assert ask("HEAD", "/graphql", params={"query": mutation("x")})[0].status_code == 405


@pytest.mark.parametrize("document", ["mutation {", "\0", "{ version } trailing"])
def test_a_document_that_cannot_be_parsed_is_refused(ask, document):
    assert ask("GET", "/graphql", params={"query": document})[0].status_code == 400


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "text/plain",
        "text/plain; application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "application/jsonp",
        "application/json, text/plain",
        "",
    ],
)
def test_a_post_of_another_type_is_refused(ask, kind):
    headers = {} if kind is None else {"content-type": kind}
    for path in ("/graphql", "/report_asset_materialization/x", "/report_asset_check/x?check_name=c&passed=true"):
        for content in (json.dumps({"query": mutation("x")}), mutation("x"), "query=1"):
            answer, changed = ask("POST", path, params={"query": mutation("x")}, content=content, headers=headers)
            assert (answer.status_code, changed) == (415, set())
            assert "application/json" in answer.text


REPORTS = ("materialization/x", "check/x", "observation/x")


@pytest.mark.parametrize("report", REPORTS)
def test_assets_are_reported_by_programs_with_a_post_of_json_only(ask, report):
    path, body = f"/report_asset_{report}", {"check_name": "c", "passed": True}
    assert ask("POST", path, json=body)[0].status_code == 200
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        assert ask(method, path, json=body)[0].status_code == 405
    answer, changed = ask("POST", path, json=body, headers={"origin": "http://evil.example"})
    assert (answer.status_code, changed) == (403, set())


@pytest.mark.parametrize("body", [[{"query": mutation("x")}], [], "x", None, 1])
def test_one_operation_is_taken_at_a_time(ask, body):
    answer, changed = ask("POST", "/graphql", content=json.dumps(body), headers={"content-type": "application/json"})
    assert (answer.status_code, changed) == (400, set())


def test_a_body_that_is_no_json_is_refused(ask):
    for content in (b"", b"{", b"\xff", b"[" * 100_000):
        answer, _ = ask("POST", "/graphql", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 400


def test_secrets_in_mutations_do_not_reach_dagster(ask):
    document = """mutation Launch($name: String!) { launchRun(executionParams: {
      mode: "x", runConfigData: "text: correct horse",
      selector: {repositoryName: $name, repositoryLocationName: "x", jobName: "x"}}) { __typename } }"""
    seen = []

    async def spy(_scope, receive, send):
        seen.append(await receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    ask("POST", "/graphql", guard=guarded(spy), json={"query": document, "variables": {"name": "x"}})
    (event,) = seen
    assert b"correct horse" not in event["body"]
    assert b"[redacted:" in event["body"]
    assert json.loads(event["body"])["variables"] == {"name": "x"}


def test_bodies_are_bounded_whether_their_length_is_declared_or_not(ask, port):
    big = b'{"query": "' + b" " * MOST_BODY_BYTES + b'"}'
    assert ask("POST", "/graphql", content=big, headers={"content-type": "application/json"})[0].status_code == 413

    async def endless():
        while True:
            yield b" " * 100_000

    answer, _ = ask("POST", "/graphql", content=endless(), headers={"content-type": "application/json"})
    assert answer.status_code == 413
    lines = ["POST /graphql HTTP/1.1", "Host: localhost", "Content-Type: application/json", "Expect: 100-continue"]
    assert send_raw(port, [*lines, f"Content-Length: {MOST_BODY_BYTES + 1}"]).split()[1] == "413"


def test_a_body_in_pieces_arrives_whole(ask):
    async def pieces():
        for sign in json.dumps({"query": QUERY}).encode():
            yield bytes([sign])

    answer, _ = ask("POST", "/graphql", content=pieces(), headers={"content-type": "application/json"})
    assert answer.json()["data"]["version"]


def named(origin, site=None, host="ai.example.com"):
    return {"host": host, "origin": origin, **({"sec-fetch-site": site} if site else {})}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (named("https://ai.example.com"), 200),  # a proxy that speaks TLS
        (named("https://ai.example.com", host="ai.example.com:443"), 200),
        (named("http://ai.example.com:8080", host="ai.example.com:8080"), 200),
        (named("https://ai.example.com:8443"), 403),  # another server of that machine
        (named("https://www.example.com"), 403),
        (named("https://ai.example.com", "cross-site"), 403),
        (named("https://ai.example.com", "same-origin", host="localhost:3000"), 200),  # a port forward
        (named("https://ai.example.com", "same-site", host="localhost:3000"), 403),
        (named("https://ai.example.com", host="localhost:3000"), 403),
        (named("https://www.example.com", "same-origin", host="localhost:3000"), 403),
    ],
)
def test_proxies_and_port_forwards_work_under_the_names_that_are_set(ask, served, headers, status):
    guard = guarded(served.app, hosts=["ai.example.com"])
    assert ask("POST", "/graphql", guard=guard, json={"query": QUERY}, headers=headers)[0].status_code == status


def test_the_rules_hold_below_a_path_prefix(tmp_path):
    with opened(tmp_path, path_prefix="/ai") as below:

        async def statuses():
            async with client(guarded(below.app, path_prefix="/ai"), OWN) as asking:
                return [
                    (await asking.get("/ai/graphql", params={"query": mutation("x")})).status_code,
                    (await asking.get("/ai/graphql", params={"query": QUERY})).status_code,
                    (await asking.post("/ai/report_asset_materialization/x")).status_code,
                    (await asking.get("/ai/graphql", headers=NAVIGATION)).status_code,
                    (await asking.get("/ai/runs", headers=NAVIGATION)).status_code,
                ]

        assert asyncio.run(statuses()) == [405, 200, 415, 403, 200]
        assert below.changes() == set()


def test_the_python_client_of_dagster_works(port):
    sending = RequestsHTTPTransport(f"http://localhost:{port}/graphql")
    try:
        with pytest.raises(DagsterGraphQLClientError, match="RunNotFoundError"):
            DagsterGraphQLClient("localhost", transport=sending).get_run_status("7d0b5c8f")
    finally:
        sending.close()


def start(document, **more):
    return json.dumps({"id": "1", "type": "start", "payload": {"query": document, **more}})


def test_own_pages_and_programs_subscribe(port):
    url = f"ws://127.0.0.1:{port}/graphql"
    for origin in (None, f"http://127.0.0.1:{port}"):
        with connect(url, subprotocols=["graphql-ws"], origin=origin) as socket:
            socket.send(json.dumps({"type": "connection_init"}))
            assert json.loads(socket.recv())["type"] == "connection_ack"
            socket.send(start("subscription { nothing }"))
            assert "nothing" in json.loads(socket.recv())["payload"]["message"]
            socket.send(start(SUBSCRIPTION))
            socket.send(json.dumps({"type": "stop", "id": "1"}))
            socket.send(json.dumps({"type": "connection_init"}))
            assert json.loads(socket.recv())["type"] == "connection_ack"


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("http://evil.example", None, 403),
        ("null", None, 403),
        ("http://localhost:1", None, 403),
        (None, "evil.example", 421),
        ("http://evil.example", "evil.example", 421),
    ],
)
def test_a_websocket_of_another_page_or_for_another_host_is_not_opened(port, origin, host, status):
    headers = {"Host": host} if host else {}
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://127.0.0.1:{port}/graphql", origin=origin, additional_headers=headers)
    assert refused.value.response.status_code == status
    assert b"ELEXIRION_HOSTS" in refused.value.response.body
    assert refused.value.response.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize(
    "frame",
    [
        *(start(document) for document in HIDDEN.values()),
        start(HIDDEN["as the second operation"], operation_name="A"),
        start(mutation("x")).replace('"start"', '"subscribe"'),
        start(mutation("x")).replace('"start"', '"anything"'),
        start(SUBSCRIPTION)[:-2] + f', "query": {json.dumps(mutation("x"))}' + "}}",
        start(mutation("x")).encode(),
        json.dumps([json.loads(start(mutation("x")))]),
        json.dumps({"type": "start", "payload": [mutation("x")]}),
        json.dumps({"type": "start", "payload": {"query": [mutation("x")]}}),
        start("subscription {"),
        "no JSON",
        "[" * 100_000,
    ],
    ids=lambda frame: str(frame)[:60],
)
def test_a_mutation_or_nonsense_closes_the_websocket(port, served, frame):
    with connect(f"ws://127.0.0.1:{port}/graphql", subprotocols=["graphql-ws"]) as socket:
        socket.send(frame)
        with pytest.raises(ConnectionClosedError) as closed:
            socket.recv()
    assert closed.value.rcvd.code == 1008
    assert closed.value.rcvd.reason
    assert served.changes() == set()


def test_frames_are_bounded(port):
    with connect(f"ws://127.0.0.1:{port}/graphql", subprotocols=["graphql-ws"]) as socket:
        socket.send(start(SUBSCRIPTION, padding="x" * MOST_FRAME_BYTES))
        with pytest.raises(ConnectionClosedError) as closed:
            socket.recv()
    assert closed.value.rcvd.code == 1009


def test_connections_of_an_unknown_kind_are_not_served(served):
    with pytest.raises(ValueError, match="webtransport"):
        asyncio.run(guarded(served.app)({"type": "webtransport"}, None, None))


def test_the_same_requests_change_something_without_the_guard(ask, served):
    """What the tests above look for happens: otherwise they would show nothing."""
    evil = {"origin": "http://evil.example", "sec-fetch-site": "cross-site", "host": "evil.example"}
    plain = {**evil, "content-type": "text/plain; application/json"}
    body = json.dumps({"query": mutation("x")})
    for path in ("/graphql", "/graphql%0A"):
        assert ask("GET", path, guard=served.app, params={"query": mutation("x")}, headers=evil)[1] == {"x"}
    assert ask("POST", "/graphql", guard=served.app, content=body, headers=plain)[1] == {"x"}
    assert ask("POST", "/graphql", guard=served.app, params={"query": mutation("x")}, headers=evil)[1] == {"x"}
    assert ask("POST", "/report_asset_materialization/x", guard=served.app, headers=evil)[1] == {"x"}
