"""The same contract when something goes wrong, over real sockets."""

import json
import threading

import pytest
from contract_wires import SCHEMA, TOOL, WIRES, asked, request

from elexirion_dagster.errors import Cancelled
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.records import Usage

pytestmark = pytest.mark.slow

STATUSES = {
    400: "bad_input",
    401: "auth",
    402: "billing",
    403: "auth",
    404: "model_not_found",
    408: "timeout",
    409: "connection",
    413: "context_exceeded",
    418: "unknown",
    429: "rate_limited",
    500: "connection",
    502: "connection",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "cause"), STATUSES.items())
def test_every_status_has_its_cause_and_is_tried_once(dial, status, cause, stream):
    server, provider = dial(faults=[{"kind": "status", "status": status}])
    with pytest.raises(ProviderError) as caught:
        provider.send(request(stream=stream), timeout_s=30)
    assert (caught.value.cause, caught.value.status, caught.value.billed) == (cause, status, False)
    assert "scripted by the rehearsal" in caught.value.message
    assert server.count == 1


@pytest.mark.parametrize(
    ("hints", "expected"),
    [({"retry_after_s": 3600}, 3600.0), ({"retry_after_s": 2, "retry_after_ms": 1500}, 1.5), ({}, None)],
)
def test_hints_are_passed_on_and_never_waited_for(dial, hints, expected):
    server, provider = dial(faults=[{"kind": "status", "status": 429, **hints}])
    with pytest.raises(ProviderError) as caught:
        provider.send(request(), timeout_s=30)
    assert (caught.value.retry_after_s, server.count) == (expected, 1)


BREAKS = [
    {"kind": "cut"},
    {"kind": "cut", "clean": False},
    {"kind": "cut", "after_events": 0},
    {"kind": "reset"},
    {"kind": "reset", "after_events": 3},
    {"kind": "malformed"},
    {"kind": "html"},
    {"kind": "wrong_content_type"},
    {"kind": "wrong_content_type", "type": "text/html"},
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", BREAKS, ids=str)
def test_a_broken_answer_is_no_answer(dial, fault, stream):
    server, provider = dial(answers=[{"text": "x" * 400}], faults=[fault])
    with pytest.raises(ProviderError) as caught:
        provider.send(request(stream=stream), timeout_s=30)
    assert (caught.value.cause, server.count) == ("connection", 1)


@pytest.mark.parametrize(
    "fault", [{"kind": "cut", "after_events": 99}, {"kind": "cut", "clean": False, "after_events": 99}]
)
def test_a_stream_that_lacks_only_its_last_event_is_no_answer(dial, fault):
    _, provider = dial(answers=[{"text": "x" * 400}], faults=[fault])
    with pytest.raises(ProviderError) as caught:
        provider.send(request(stream=True), timeout_s=30)
    assert caught.value.cause == "connection"


def test_a_failure_after_text_was_handed_out_says_so(dial):
    _, provider = dial(answers=[{"text": "x" * 400}], faults=[{"kind": "cut", "after_events": 6}])
    pieces = []
    with pytest.raises(ProviderError) as caught:
        provider.send(request(stream=True), timeout_s=30, on_text=pieces.append)
    assert pieces
    assert caught.value.partial


def test_a_failure_before_any_text_may_be_tried_again_silently(dial):
    _, provider = dial(answers=[{"text": "x" * 400}], faults=[{"kind": "cut", "after_events": 1}])
    with pytest.raises(ProviderError) as caught:
        provider.send(request(stream=True), timeout_s=30, on_text=print)
    assert not caught.value.partial


@pytest.mark.parametrize("stream", [False, True])
def test_an_overload_is_told_wherever_it_comes(dial, stream):
    server, provider = dial(faults=[{"kind": "error_event"}])
    with pytest.raises(ProviderError) as caught:
        provider.send(request(stream=stream), timeout_s=30)
    assert (caught.value.cause, server.count) == ("overloaded", 1)


@pytest.mark.parametrize("stream", [False, True])
def test_silence_is_a_timeout(dial, stream):
    _, provider = dial(faults=[{"kind": "stall", "seconds": 60}])
    with pytest.raises(ProviderError) as caught:
        provider.send(request(stream=stream), timeout_s=0.3)
    assert caught.value.cause == "timeout"


@pytest.mark.parametrize("stream", [False, True])
def test_bytes_that_trickle_in_do_not_prolong_the_timeout(dial, stream):
    _, provider = dial(answers=[{"text": "x" * 4000}], faults=[{"kind": "slow_drip"}])
    with pytest.raises(ProviderError) as caught:
        provider.send(request(stream=stream), timeout_s=0.5)
    assert caught.value.cause == "timeout"


@pytest.mark.parametrize("stream", [False, True])
def test_cancelling_ends_an_answer_that_trickles_in(dial, stream):
    _, provider = dial(answers=[{"text": "x" * 4000}], faults=[{"kind": "slow_drip"}])
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(Cancelled):
        provider.send(request(stream=stream), timeout_s=120, cancelled=stop)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_may_come_in_pieces_of_any_size(dial, stream):
    text = "Ünïcode \u2028 \U0001f40d text " * 5
    _, provider = dial(answers=[{"text": text}], faults=[{"kind": "slow_drip", "size": 3, "every_ms": 0}])
    assert provider.send(request(stream=stream), timeout_s=60).text == text


@pytest.mark.parametrize("stream", [False, True])
def test_five_megabytes_arrive_whole(dial, stream):
    _, provider = dial(answers=[{"text": "0123456789", "size_kb": 5000}])
    pieces = []
    reply = provider.send(request(stream=stream), timeout_s=120, on_text=pieces.append)
    assert reply.text == "".join(pieces) == "0123456789" * 500_000


def test_pings_do_not_prolong_the_timeout(dial):
    _, provider = dial(faults=[{"kind": "stall", "seconds": 60, "pings": True}])
    with pytest.raises(ProviderError) as caught:
        provider.send(request(stream=True), timeout_s=0.5)
    assert caught.value.cause == "timeout"


def test_cancelling_ends_a_stream_that_only_pings(dial):
    _, provider = dial(faults=[{"kind": "stall", "seconds": 60, "pings": True}])
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(Cancelled):
        provider.send(request(stream=True), timeout_s=120, cancelled=stop)


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_is_refused_with_what_it_used(dial, stream):
    usage = {"input_tokens": 11, "output_tokens": 2}
    _, provider = dial(answers=[{"text": "t", "usage": usage}], faults=[{"kind": "refusal"}])
    with pytest.raises(ProviderError) as caught:
        provider.send(request(stream=stream), timeout_s=30)
    assert (caught.value.cause, caught.value.usage, caught.value.billed) == ("refused", Usage(11, 2), True)


@pytest.mark.parametrize("stream", [False, True])
def test_an_unknown_stop_reason_fails_closed_with_what_it_used(dial, stream):
    _, provider = dial(answers=[{"text": "t", "stop_reason": "compaction", "usage": {"input_tokens": 11}}])
    with pytest.raises(ProviderError, match="compaction") as caught:
        provider.send(request(stream=stream), timeout_s=30)
    assert (caught.value.cause, caught.value.usage) == ("malformed_output", Usage(11, 0))


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_stop_without_a_tool_call_is_malformed(dial, stream):
    _, provider = dial(answers=[{"text": "t", "stop_reason": "tool_use"}])
    with pytest.raises(ProviderError) as caught:
        provider.send(request(stream=stream), timeout_s=30)
    assert caught.value.cause == "malformed_output"


def test_a_server_that_is_not_there_is_a_connection_that_cost_nothing(dial):
    _, provider = dial()
    gone = WIRES[provider.name][1]("http://127.0.0.1:9")
    with pytest.raises(ProviderError) as caught:
        gone.send(request(), timeout_s=5)
    gone.close()
    assert (caught.value.cause, caught.value.billed) == ("connection", False)


def test_one_timeout_leaves_the_next_call_its_own(dial):
    _, provider = dial(answers=[{"latency_ms": 60_000, "times": 1}, {"text": "then", "latency_ms": 300}])
    with pytest.raises(ProviderError):
        provider.send(request(), timeout_s=0.2)
    assert provider.send(request(), timeout_s=30).text == "then"


def test_an_error_of_the_listener_is_not_taken_for_the_models(answering):
    def listener(_text):
        raise ValueError("mine")

    provider = answering(text="x" * 400)
    for stream in (False, True):
        with pytest.raises(ValueError, match="mine"):
            provider.send(asked(provider, stream=stream), timeout_s=60, on_text=listener)


@pytest.fixture
def soon_idle(monkeypatch):
    monkeypatch.setattr("elexirion_dagster.providers.sockets.IDLE_S", 0.4)


@pytest.mark.usefixtures("soon_idle")
def test_a_stream_that_falls_silent_is_a_timeout_long_before_its_own(dial):
    _, provider = dial(answers=[{"text": "x" * 400}], faults=[{"kind": "stall", "seconds": 250}])
    with pytest.raises(ProviderError, match=r"sent nothing for 0\.4 s") as caught:
        provider.send(request(stream=True), timeout_s=240)
    assert caught.value.cause == "timeout"


@pytest.mark.usefixtures("soon_idle")
@pytest.mark.parametrize(
    ("stream", "script"),
    [
        (True, {"faults": [{"kind": "slow_drip", "size": 20, "every_ms": 20}]}),
        (True, {"faults": [{"kind": "stall", "seconds": 1, "pings": True}]}),
        (True, {"latency_ms": 1000}),
        (False, {"latency_ms": 1000}),
    ],
    ids=["a stream that drips", "one that pings", "one that begins late", "a plain answer that comes late"],
)
def test_what_is_only_slow_is_not_taken_for_silence(dial, stream, script):
    _, provider = dial(answers=[{"text": "x" * 400}], **script)
    assert provider.send(request(stream=stream), timeout_s=120).text == "x" * 400


COUNTING = ["anthropic", "gemini", "gemini-legacy"]


@pytest.mark.parametrize("dial", COUNTING, indirect=True)
def test_the_input_is_counted_as_it_would_be_sent(dial):
    server, provider = dial()
    whole = request("word " * 100, model=WIRES[provider.name][0], system="SYS", tools=(TOOL,), output_schema=SCHEMA)
    counted = provider.count_tokens(whole, timeout_s=30)
    assert 100 < counted < 500
    assert server.count == 0
    sent = json.dumps(server.requests[0].body)
    assert all(piece in sent for piece in ("SYS", "word", "Read a file.", "note"))


@pytest.mark.parametrize("dial", COUNTING, indirect=True)
def test_a_count_that_fails_has_a_cause(dial):
    _, provider = dial()
    gone = WIRES[provider.name][1]("http://127.0.0.1:9")
    with pytest.raises(ProviderError) as caught:
        gone.count_tokens(request(), timeout_s=5)
    gone.close()
    assert caught.value.cause == "connection"


@pytest.mark.parametrize("dial", ["local"], indirect=True)
def test_a_provider_that_cannot_count_says_so_without_a_question(dial):
    server, provider = dial()
    assert provider.count_tokens(request(), timeout_s=5) is None
    assert len(server.requests) == 0
