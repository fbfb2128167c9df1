"""What is sent to Google's API, and that nothing it may say raises what is not expected."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from gemini_wire import TOOL, body, read, request
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from wire_schemas import ROWS

from elexirion_dagster.errors import InputError
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.gemini import GeminiProvider
from elexirion_dagster.providers.gemini_body import content_body, native_schema, takes_schema
from elexirion_dagster.providers.gemini_errors import FAULTS, answered
from elexirion_dagster.providers.gemini_stream import Assembly
from elexirion_dagster.records import (
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
)
from elexirion_dagster.rehearsal.server import RehearsalServer
from elexirion_dagster.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def dial(dial_gemini):
    return dial_gemini


def test_a_schema_goes_into_native_structured_output(dial):
    server, provider = dial()
    if provider.name != "gemini":
        pytest.skip("the older form has its own test")
    provider.send(request(output_schema=ROWS, system="s"), timeout_s=30)
    sent = server.requests[0].body
    config = sent["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    note = config["responseJsonSchema"]["properties"]["rows"]["items"]["properties"]["note"]
    assert note == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert sent["systemInstruction"] == {"parts": [{"text": "s"}]}


@pytest.mark.parametrize(
    "part",
    [
        {"type": "object"},
        {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": True},
        {"$ref": "#/$defs/x"},
        {"type": "array"},
        {"const": 1},
        {"enum": [None]},
        {"oneOf": [{"type": "string"}]},
        {"type": ["object", "null"]},
        {},
        True,
    ],
)
def test_a_schema_that_the_api_would_narrow_goes_into_the_system_text(part):
    schema = {"type": "object", "properties": {"part": part}}
    sent = content_body(request(output_schema=schema, system="s"))
    assert native_schema(schema) is None
    assert set(sent["generationConfig"]) == {"maxOutputTokens"}
    text = sent["systemInstruction"]["parts"][0]["text"]
    assert text.startswith("s\n\nAnswer with exactly one JSON value")
    assert text.endswith(json.dumps(schema, sort_keys=True, separators=(",", ":")))


@pytest.mark.parametrize(
    ("model", "alone", "beside_tools"),
    [
        ("gemini-2.5-flash", True, False),
        ("models/gemini-2.5-pro", True, False),
        ("gemini-3-pro-preview", True, True),
        ("gemini-3.5-flash", True, True),
        ("gemini-flash-lite-latest", True, True),
        ("gemini-2.0-flash", False, False),
        ("gemini-1.5-pro-002", False, False),
        ("gemma-3-27b-it", False, False),
        ("my-own-gateway-model", False, False),
    ],
)
def test_native_structured_output_came_with_2_5_and_beside_tools_with_3(model, alone, beside_tools):
    assert (takes_schema(model), takes_schema(model, tools=True)) == (alone, beside_tools)
    sent = content_body(request(model=model, output_schema=ROWS, tools=(TOOL,)))
    assert ("responseJsonSchema" in sent["generationConfig"]) is beside_tools
    assert sent["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"] == TOOL.input_schema


def test_a_request_without_extras_sends_none():
    assert set(content_body(request())) == {"contents", "generationConfig"}


def test_streaming_reuses_its_connection(dial):
    server, provider = dial(answers=[{"text": "x" * 400}])
    for stream in (True, False) * 3:
        provider.send(request(stream=stream), timeout_s=30)
    assert server.connections == 1


def test_the_server_is_told_how_long_we_wait():
    with RehearsalServer() as server:
        provider = GeminiProvider(SecretStr("k"), server.base_url)
        provider.send(request(), timeout_s=7.5)
        provider.close()
        assert server.requests[0].headers["x-server-timeout"] == "8"


ENVIRONMENT = {
    "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:9",
    "GOOGLE_API_KEY": "sk-other",
    "GEMINI_API_KEY": "sk-third",
    "GOOGLE_GENAI_USE_VERTEXAI": "true",
    "GOOGLE_GENAI_API_VERSION": "v7",
    "GOOGLE_GENAI_HTTP_CLIENT": "httpx",
    "GOOGLE_CLOUD_PROJECT": "p",
}


def test_the_environment_of_the_sdk_is_not_read(dial, monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    server, provider = dial(answers=[{"text": "t"}])
    assert provider.send(request(), timeout_s=30).text == "t"
    assert server.requests[0].path == "/v1beta/models/gemini-2.5-flash:generateContent"


def test_two_keys_at_two_servers_live_in_one_process(dial):
    one, first = dial(answers=[{"text": "one"}])
    two, second = dial(answers=[{"text": "two"}])
    assert [provider.send(request(), timeout_s=30).text for provider in (first, second, first)] == ["one", "two", "one"]
    assert (one.count, two.count) == (2, 1)


def test_without_a_key_it_does_not_open(dial):
    _, provider = dial()
    with pytest.raises(InputError, match="key"):
        type(provider).from_settings(Settings())


def test_importing_the_catalogue_imports_no_sdk():
    program = (
        "import sys, elexirion_dagster.providers.catalog; print({m for m in sys.modules if m.startswith('google.')})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT)}
    )
    assert done.stdout.strip() == "set()"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 12) | st.sampled_from(["STOP", "SAFETY", "text", "x"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "candidates",
                    "content",
                    "parts",
                    "text",
                    "thought",
                    "thoughtSignature",
                    "functionCall",
                    "name",
                    "args",
                    "finishReason",
                    "promptFeedback",
                    "blockReason",
                    "usageMetadata",
                    "promptTokenCount",
                    "responseId",
                ]
            ),
            inner,
        )
    ),
    max_leaves=10,
)


@given(VALUES)
def test_no_body_raises_anything_but_a_provider_error(value):
    for found in (value, {"candidates": [value]}, body(parts=[value]), body("STOP", [{"functionCall": value}])):
        try:
            reply = read(found)
        except ProviderError:
            continue
        assert all(isinstance(block, TextBlock | ThinkingBlock | ToolUseBlock) for block in reply.blocks)


@given(
    st.lists(st.dictionaries(st.sampled_from(["candidates", "usageMetadata", "promptFeedback"]), VALUES), max_size=3)
)
def test_no_sequence_of_chunks_raises_what_is_not_expected(chunks):
    assembly = Assembly()
    try:
        for chunk in chunks:
            assembly.take(chunk)
        read(assembly.body())
    except (*FAULTS, ProviderError):
        return
    assert assembly.begun


@given(VALUES, st.sampled_from([200, 400, 429, 500]))
def test_no_error_body_raises(value, status):
    for said in (value, {"error": value}, {"error": {"details": value}}, {"error": {"details": [value]}}):
        assert answered(said, status, {}, begun=False).status == status
