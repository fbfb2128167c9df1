"""What only the older SDK does, and what we make of it, over real sockets."""

import json
import subprocess
import sys

import pytest
from pydantic import SecretStr

from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.gemini_legacy_body import legacy_body, older_schema
from elexirion_dagster.providers.gemini_stream import array_items
from elexirion_dagster.records import Message, Request, TextBlock, ThinkingBlock, Tool, ToolUseBlock
from elexirion_dagster.rehearsal.contents import json_schema
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "note": {"type": ["string", "null"]}, "level": {"enum": ["a", "b"]}},
    "required": ["n", "note"],
    "additionalProperties": False,
}
OLDER = {
    "type": "OBJECT",
    "properties": {
        "n": {"type": "INTEGER"},
        "note": {"type": "STRING", "nullable": True},
        "level": {"type": "STRING", "format": "enum", "enum": ["a", "b"]},
    },
    "required": ["n", "note"],
}


def request(text="hello", **fields):
    return Request(**{"model": "gemini-2.5-flash", "messages": (Message("user", (TextBlock(text),)),), **fields})


@pytest.fixture
def dial():
    pytest.importorskip("google.generativeai", reason="the extra gemini-legacy is not installed")
    from elexirion_dagster.providers.gemini_legacy import GeminiLegacyProvider

    opened = []

    def start(**script):
        server = RehearsalServer(Script.model_validate(script)).__enter__()
        provider = GeminiLegacyProvider(SecretStr("sk-test"), server.base_url)
        opened.append((server, provider))
        return server, provider

    yield start
    for server, provider in opened:
        provider.close()
        server.__exit__(None, None, None)


def test_a_schema_is_rewritten_into_the_older_form_and_means_the_same():
    assert older_schema(SCHEMA) == OLDER
    assert json_schema(OLDER)["properties"]["note"] == {"type": ["string", "null"]}


@pytest.mark.parametrize(
    "part",
    [
        {"type": "null"},
        {"enum": [1, 2]},
        {"type": ["string", "integer"]},
        {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        {"type": "array", "items": {"type": "null"}},
        {"type": "object"},
    ],
)
def test_a_schema_without_an_older_form_stands_in_the_system_text(part):
    schema = {"type": "object", "properties": {"part": part}}
    sent = legacy_body(request(output_schema=schema, system="s"))
    assert set(sent["generationConfig"]) == {"maxOutputTokens"}
    assert sent["systemInstruction"]["parts"][0]["text"].startswith("s\n\nAnswer with exactly one JSON value")


def test_a_tool_without_an_older_form_is_refused_before_it_is_sent(dial):
    server, provider = dial()
    tool = Tool("t", "d", {"type": "object", "properties": {"any": {}}})
    with pytest.raises(ProviderError, match="tool t") as caught:
        provider.send(request(tools=(tool,)), timeout_s=5)
    assert (caught.value.cause, caught.value.billed, server.count) == ("bad_input", False, 0)


def test_a_tool_without_parameters_declares_none():
    sent = legacy_body(request(tools=(Tool("now", "The time.", {"type": "object", "properties": {}}),)))
    assert sent["tools"] == [{"functionDeclarations": [{"name": "now", "description": "The time."}]}]


def test_thinking_has_no_place_in_the_older_form_and_the_rest_of_the_turn_goes(dial):
    server, provider = dial()
    thought = ThinkingBlock({"text": "secret", "thought": True, "thoughtSignature": "c2ln"})
    sign = ThinkingBlock({"thoughtSignature": "c2ln"})
    turns = (
        *request().messages,
        Message("assistant", (thought, sign, ToolUseBlock("t1", "read", {"a": 1}))),
        Message("assistant", (thought,)),
    )
    provider.send(request(messages=turns), timeout_s=30)
    sent = server.requests[0].body["contents"]
    assert sent[1:] == [{"role": "model", "parts": [{"functionCall": {"id": "t1", "name": "read", "args": {"a": 1}}}]}]


def test_numbers_for_finish_reasons_are_read_as_words(dial):
    _, provider = dial(answers=[{"text": "t", "stop_reason": "max_tokens"}])
    for stream in (False, True):
        assert provider.send(request(stream=stream), timeout_s=30).stop_reason == "max_tokens"


def test_the_sdk_speaks_as_itself_over_rest(dial):
    server, provider = dial()
    provider.send(request(), timeout_s=30)
    assert "genai-py" in server.requests[0].headers["x-goog-api-client"]
    assert server.requests[0].path.startswith("/v1beta/models/gemini-2.5-flash:")


def test_importing_it_is_silent_and_leaves_other_warnings_alone():
    pytest.importorskip("google.generativeai", reason="the extra gemini-legacy is not installed")
    program = (
        "import warnings, elexirion_dagster.providers.gemini_legacy\n"
        "try: warnings.warn('other', FutureWarning)\n"
        "except FutureWarning: print('still an error')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::FutureWarning", "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("still an error", "")


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_an_array_is_read_item_by_item_however_it_is_cut(size):
    items = [{"text": 'Ünï } ] [ { " \\ \U0001f40d'}, {"a": {"b": [1, {"c": []}]}}, {}]
    data = b" \r\n" + json.dumps(items, ensure_ascii=False, indent=1).encode() + b"\r\n"
    assert list(array_items(data[at : at + size] for at in range(0, len(data), size))) == items


def test_an_item_is_handed_out_before_the_array_ends():
    items = array_items(iter([b'[{"a": 1}\r\n,', b'{"a": 2}]']))
    assert next(items) == {"a": 1}


@pytest.mark.parametrize("data", [b"", b"[", b'[{"a": 1}', b'[{"a": 1},', b'[{"a": 1', b'[{"a": }]', b'[{"a": 1}] x'])
def test_an_array_that_is_cut_or_broken_is_told(data):
    with pytest.raises(EOFError):
        list(array_items([data]))


@pytest.mark.parametrize("data", [b'{"a": 1}', b"<html>", b'data: {"a": 1}', b"\xff\xfe"])
def test_what_is_no_array_is_told(data):
    with pytest.raises(ValueError):  # noqa: PT011  whichever kind
        list(array_items([data]))
