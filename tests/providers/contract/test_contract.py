"""What every provider promises, tried on the fake, on every wire format through real sockets, and on a real model."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from contract_wires import MODELS, SCHEMA, TOOL, asked, request

from elexirion_dagster.errors import Cancelled
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.catalog import configured
from elexirion_dagster.records import Message, TextBlock, ToolResultBlock, ToolUseBlock, Usage
from elexirion_dagster.settings import Settings


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
