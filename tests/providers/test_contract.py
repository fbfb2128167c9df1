"""What every provider promises, tried on the fake, on every wire format through real sockets, and on a real model."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr
from real_model import ENDLESS, GGUF, HAS_MODEL, MODEL_MISSING

from elexirion_dagster.errors import Cancelled
from elexirion_dagster.providers.anthropic import AnthropicProvider
from elexirion_dagster.providers.base import Provider, ProviderError
from elexirion_dagster.providers.catalog import configured
from elexirion_dagster.providers.fake import FakeProvider, Rule
from elexirion_dagster.providers.gemini import GeminiProvider
from elexirion_dagster.providers.local import LocalProvider
from elexirion_dagster.records import Message, Request, TextBlock, Tool, ToolResultBlock, ToolUseBlock, Usage
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer
from elexirion_dagster.settings import Settings

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "note": {"type": ["string", "null"]}},
    "required": ["n", "note"],
    "additionalProperties": False,
}
TOOL = Tool("read", "Read a file.", {"type": "object", "properties": {"path": {"type": "string"}}})


def request(text="hello", **fields):
    return Request(**{"model": "claude-opus-4-5", "messages": (Message("user", (TextBlock(text),)),), **fields})


WIRES = {
    "anthropic": ("claude-opus-4-5", lambda url: AnthropicProvider(SecretStr("sk-test"), url)),
    "gemini": ("gemini-2.5-flash", lambda url: GeminiProvider(SecretStr("sk-test"), url)),
    "gemini-legacy": ("gemini-2.5-flash", lambda url: legacy_provider()(SecretStr("sk-test"), url)),
    "local": ("any", lambda url: LocalProvider(f"{url}/v1", SecretStr("sk-test"))),
}

MODELS = {"fake": "fake", "embedded": str(GGUF), **{name: model for name, (model, _) in WIRES.items()}}


def legacy_provider():
    pytest.importorskip("google.generativeai", reason="the extra gemini-legacy is not installed")
    from elexirion_dagster.providers.gemini_legacy import GeminiLegacyProvider

    return GeminiLegacyProvider


@pytest.fixture(scope="module")
def embedded():
    """The real model, for what needs no script: it says what it says and uses what it uses."""
    if not HAS_MODEL:
        pytest.skip(MODEL_MISSING)
    from elexirion_dagster.providers.embedded import EmbeddedProvider

    provider = EmbeddedProvider(GGUF.parent)
    yield provider
    provider.close()


def asked(provider, **fields):
    """A request that every provider takes; the real model would answer it for as long as it may."""
    return request(ENDLESS, **{"model": MODELS[provider.name], "max_tokens": 40, **fields})


@pytest.fixture(params=WIRES)
def dial(request):
    """Open a provider of each wire format at a server that plays a script."""
    opened = []

    def start(**script):
        server = RehearsalServer(Script.model_validate(script)).__enter__()
        opened.append(server)
        provider = WIRES[request.param][1](server.base_url)
        opened.append(provider)
        return server, provider

    yield start
    for each in opened:
        each.close() if isinstance(each, Provider) else each.__exit__(None, None, None)


@pytest.fixture(params=["fake", "embedded", *WIRES])
def answering(request):
    """Open each provider so that it answers as told: text, data, tools, usage, stop_reason, delay.

    The real model takes of that what it cannot but do: be slow, and be cut.
    """
    opened = []

    def start(*, tool=None, usage=None, **answer):
        if request.param == "fake":
            tools = (ToolUseBlock("t1", *tool),) if tool else ()
            return FakeProvider([Rule(**answer, tools=tools, usage=usage)])
        if request.param == "embedded":
            if tool or usage:
                pytest.skip("embedded: a real model cannot be told what to call or to use")
            return request.getfixturevalue("embedded")
        told = {**answer, "tools": [{"name": tool[0], "input": tool[1]}] if tool else []}
        if usage:
            told["usage"] = {name: getattr(usage, name) for name in Usage.__slots__}
        if "delay_s" in told:
            told["latency_ms"] = told.pop("delay_s") * 1000
        server = RehearsalServer(Script.model_validate({"answers": [told]})).__enter__()
        opened.append(server)
        provider = WIRES[request.param][1](server.base_url)
        opened.append(provider)
        return provider

    yield start
    for each in opened:
        each.close() if isinstance(each, Provider) else each.__exit__(None, None, None)


@pytest.mark.parametrize("stream", [False, True])
def test_text_usage_and_stop_reason_arrive(answering, stream):
    provider = answering(text="Ünïcode \u2028 text " * 20, usage=Usage(7, 5))
    reply = provider.send(request(stream=stream), timeout_s=30)
    assert reply.text == "Ünïcode \u2028 text " * 20
    assert (reply.stop_reason, reply.usage, reply.provider) == ("end_turn", Usage(7, 5), provider.name)
    assert reply.latency_s > 0


@pytest.mark.parametrize("stream", [False, True])
def test_all_text_is_handed_out_in_order(answering, stream):
    pieces, provider = [], answering(text="one two three " * 10)
    reply = provider.send(asked(provider, stream=stream), timeout_s=60, on_text=pieces.append)
    assert "".join(pieces) == reply.text
    assert reply.text == "one two three " * 10 or (provider.name == "embedded" and reply.text)
    assert stream or len(pieces) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_call_arrives_whole(answering, stream):
    given = {"path": "a/b.py", "lines": [1, 2]}
    reply = answering(tool=("read", given)).send(request(tools=(TOOL,), stream=stream), timeout_s=30)
    assert reply.stop_reason == "tool_use"
    assert [(block.name, block.input) for block in reply.blocks] == [("read", given)]


@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_is_answered_with_data_that_fits(answering, stream):
    provider = answering()
    reply = provider.send(asked(provider, output_schema=SCHEMA, stream=stream, max_tokens=400), timeout_s=60)
    assert set(json.loads(reply.text)) == {"n", "note"}


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_cut_at_max_tokens_is_a_reply(answering, stream):
    provider = answering(text="half", stop_reason="max_tokens")
    reply = provider.send(asked(provider, stream=stream, max_tokens=3), timeout_s=60)
    assert reply.stop_reason == "max_tokens"
    assert reply.text == "half" or (provider.name == "embedded" and reply.usage.output_tokens == 3)


@pytest.mark.parametrize("stream", [False, True])
def test_the_timeout_ends_the_call(answering, stream):
    provider = answering(text="late", delay_s=60)
    with pytest.raises(ProviderError) as caught:
        provider.send(asked(provider, stream=stream, max_tokens=4000), timeout_s=0.2)
    assert caught.value.cause == "timeout"


def test_every_catalogued_provider_keeps_this_contract():
    assert {name for name, _, _ in configured(Settings())} == MODELS.keys()


@pytest.mark.parametrize("stream", [False, True])
def test_cancelling_ends_the_call(answering, stream):
    stop = threading.Event()
    provider = answering(text="late", delay_s=60)
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(Cancelled):
        provider.send(asked(provider, stream=stream, max_tokens=4000), timeout_s=120, cancelled=stop)


def test_nothing_is_sent_once_cancelled(dial):
    stop = threading.Event()
    stop.set()
    server, provider = dial()
    with pytest.raises(Cancelled):
        provider.send(request(), timeout_s=5, cancelled=stop)
    assert server.count == 0


def test_sixty_four_threads_share_one_provider(dial):
    server, provider = dial(latency_ms=1000)
    with ThreadPoolExecutor(64) as pool:
        replies = list(pool.map(lambda i: provider.send(request(f"q{i}"), timeout_s=60).text, range(64)))
    assert [text.rpartition(" ")[2] for text in replies] == [f"q{i}" for i in range(64)]
    assert server.peak_in_flight > 32


def test_a_whole_conversation_travels(dial):
    server, provider = dial()
    turns = (
        Message("user", (TextBlock("list"),)),
        Message("assistant", (TextBlock("ok"), ToolUseBlock("t1", "read", {"path": "a"}))),
        Message("user", (ToolResultBlock("t1", "content of a"), TextBlock("go on"))),
    )
    provider.send(
        request(messages=turns, system="SYS", tools=(TOOL,), stop_sequences=("END",), temperature=0.0), timeout_s=5
    )
    sent = json.dumps(server.requests[0].body)
    assert all(piece in sent for piece in ("SYS", "list", "ok", "t1", "content of a", "go on", "Read a file.", "END"))
    body = server.requests[0].body
    assert body.get("generationConfig", body)["temperature"] == 0.0


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
