"""What OpenAI-compatible servers are known to send, beyond what all providers have in common."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from elexirion_dagster.errors import InputError
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.local import LocalProvider
from elexirion_dagster.providers.local_body import completion_body, read_completion
from elexirion_dagster.providers.local_errors import FAULTS, answered
from elexirion_dagster.providers.local_stream import Completion, sse_data
from elexirion_dagster.records import Message, Request, TextBlock, ThinkingBlock, ToolUseBlock, Usage
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer
from elexirion_dagster.settings import Settings

ASK = Request(model="m", messages=(Message("user", (TextBlock("hello"),)),))


def completion(finish="stop", usage=None, **message):
    return {"choices": [{"message": message, "finish_reason": finish}], "usage": usage, "model": "m"}


def call(arguments, name="read", use="c1"):
    return {"id": use, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_cached_tokens_are_counted_once():
    usage = {"prompt_tokens": 10, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}
    assert read_completion(completion(content="t", usage=usage), ASK, 0.0).usage == Usage(6, 3, 4, 0)


def test_a_local_answer_costs_nothing():
    assert read_completion(completion(content="t"), ASK, 0.0).cost_usd == 0.0


@pytest.mark.parametrize("arguments", ['{"path": "a"}', {"path": "a"}])
def test_arguments_come_as_text_or_as_an_object(arguments):
    reply = read_completion(completion("tool_calls", tool_calls=[call(arguments)]), ASK, 0.0)
    assert reply.blocks == (ToolUseBlock("c1", "read", {"path": "a"}),)


def test_a_tool_call_that_ends_with_stop_is_a_tool_call():
    assert read_completion(completion("stop", tool_calls=[call("")]), ASK, 0.0).stop_reason == "tool_use"


def test_arguments_cut_at_max_tokens_are_left_out():
    reply = read_completion(completion("length", content="a", tool_calls=[call('{"pa')]), ASK, 0.0)
    assert (reply.blocks, reply.stop_reason) == ((TextBlock("a"),), "max_tokens")


@pytest.mark.parametrize("broken", [call('{"pa'), call("[1]"), {"id": "c1"}, "call", call("{}", use=None)])
def test_a_broken_tool_call_is_malformed(broken):
    with pytest.raises(ProviderError) as caught:
        read_completion(completion("tool_calls", tool_calls=[broken]), ASK, 0.0)
    assert caught.value.cause == "malformed_output"


@pytest.mark.parametrize("body", [{}, [], None, {"choices": []}, completion(None, content="t"), {"error": "no"}])
def test_json_that_is_no_completion_is_no_answer(body):
    with pytest.raises(ProviderError) as caught:
        read_completion(body, ASK, 0.0)
    assert caught.value.cause == "connection"


def test_a_schema_becomes_a_response_format():
    with RehearsalServer() as server:
        provider = LocalProvider(f"{server.base_url}/v1")
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        reply = provider.send(Request("m", ASK.messages, output_schema=schema), timeout_s=30)
        provider.close()
    assert server.requests[0].body["response_format"]["json_schema"]["schema"] == schema
    assert json.loads(reply.text) == {"n": 0}


def test_thinking_of_another_model_is_left_out():
    turns = (*ASK.messages, Message("assistant", (ThinkingBlock({"type": "thinking"}), TextBlock("a"))))
    assert completion_body(Request("m", turns))["messages"][1] == {"role": "assistant", "content": "a"}


@pytest.mark.parametrize(
    ("said", "status", "cause"),
    [
        ({"error": {"message": "x", "code": "context_length_exceeded"}}, 400, "context_exceeded"),
        ({"error": {"message": "the request exceeds the available context size"}}, 400, "context_exceeded"),
        ({"error": {"message": "x", "code": "insufficient_quota"}}, 429, "billing"),
        ({"error": "model 'm' not found"}, 404, "model_not_found"),
        ({"error": {"message": "x", "code": 503}}, None, "overloaded"),
        ({"error": {"message": "x", "type": "unheard of"}}, None, "connection"),
        ({"detail": "no"}, 422, "bad_input"),
        ("<html>", 502, "connection"),
    ],
)
def test_errors_are_read_in_every_dialect(said, status, cause):
    assert answered(said, status).cause == cause


def test_the_first_model_of_the_server_is_found():
    with RehearsalServer(Script(models=("qwen", "llama"))) as server:
        provider = LocalProvider(f"{server.base_url}/v1/")
        assert provider.first_model() == "qwen"
        provider.close()


def test_a_server_without_models_is_told():
    with RehearsalServer(Script(models=())) as server:
        provider = LocalProvider(f"{server.base_url}/v1")
        with pytest.raises(ProviderError) as caught:
            provider.first_model()
        provider.close()
    assert caught.value.cause == "model_not_found"


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with RehearsalServer() as server:
        provider = LocalProvider(f"{server.base_url}/v1")
        assert provider.send(ASK, timeout_s=30).text
        provider.close()


def test_the_key_is_sent_and_only_if_there_is_one():
    seen = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers.get("authorization"))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"data": [{"id": "m"}]}')

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for key in (SecretStr("sk-local"), None):
        provider = LocalProvider(f"http://127.0.0.1:{server.server_port}", key)
        provider.first_model()
        provider.close()
    server.shutdown()
    server.server_close()
    assert seen == ["Bearer sk-local", None]


def test_without_a_url_it_does_not_open():
    with pytest.raises(InputError, match="URL"):
        LocalProvider.from_settings(Settings())


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=4), st.integers(1, 7))
def test_events_survive_any_cutting_and_any_character(texts, size):
    wire = b"".join(b": ping\n\ndata: " + json.dumps(text, ensure_ascii=False).encode() + b"\r\n\r\n" for text in texts)
    pieces = [wire[start : start + size] for start in range(0, len(wire), size)]
    assert [json.loads(data) for data in sse_data(pieces)] == texts


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["stop", "tool_calls", "length", "x"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "prompt_tokens",
                    "prompt_tokens_details",
                    "cached_tokens",
                    "choices",
                    "delta",
                    "content",
                    "tool_calls",
                    "finish_reason",
                    "function",
                    "id",
                    "usage",
                ]
            ),
            inner,
        )
    ),
    max_leaves=10,
)


@given(VALUES, VALUES, VALUES)
def test_no_body_raises_anything_but_a_provider_error(message, usage, finish):
    content = message if isinstance(message, dict) else {"content": message, "tool_calls": message}
    body = {"choices": [{"message": content, "finish_reason": finish}], "usage": usage, "id": finish}
    try:
        reply = read_completion(body, ASK, 0.0)
    except ProviderError:
        return
    assert isinstance(reply.text, str)


@given(st.lists(VALUES, max_size=3))
def test_no_chunk_raises_what_is_not_expected(chunks):
    taken = Completion()
    try:
        for chunk in chunks:
            taken.take(chunk)
        read_completion(taken.body(), ASK, 0.0)
    except (*FAULTS, ProviderError):
        return
    assert taken.body()["choices"][0]["finish_reason"]
