"""What is sent to Anthropic, and that nothing it may say raises what is not expected."""

import json
import subprocess
import sys

import pytest
from anthropic_wire import failure, request
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from wire_schemas import ROWS

from elexirion_dagster.errors import InputError
from elexirion_dagster.providers.anthropic import AnthropicProvider
from elexirion_dagster.providers.anthropic_body import message_body
from elexirion_dagster.providers.anthropic_errors import FAULTS
from elexirion_dagster.providers.anthropic_reply import read_message
from elexirion_dagster.providers.anthropic_stream import Assembly
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.records import TextBlock, ThinkingBlock, ToolUseBlock
from elexirion_dagster.settings import Settings


@pytest.fixture
def dial(dial_to):
    return dial_to(AnthropicProvider)


def test_a_schema_goes_into_native_structured_output(dial):
    server, provider = dial()
    provider.send(request(output_schema=ROWS, system="s"), timeout_s=30)
    sent = server.requests[0].body
    note = sent["output_config"]["format"]["schema"]["properties"]["rows"]["items"]["properties"]["note"]
    assert [branch["type"] for branch in note["anyOf"]] == ["string", "null"]
    assert sent["system"][0]["text"] == "s"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "object"},
        {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": True},
        {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}},
        {"$ref": "#/$defs/x"},
        {"type": "array"},
        {"const": {"a": 1}},
        {"enum": [[1]]},
        {"oneOf": [{"type": "string"}]},
        {"type": ["object", "null"]},
        {},
        True,
    ],
)
def test_a_schema_that_the_strict_form_would_narrow_goes_into_the_system_text(part):
    schema = {"type": "object", "properties": {"part": part}}
    body = message_body(request(output_schema=schema, system="s"), native_schema=True)
    assert "output_config" not in body
    assert body["system"][0]["text"].startswith("s\n\nAnswer with exactly one JSON value")
    assert body["system"][0]["text"].endswith(json.dumps(schema, sort_keys=True, separators=(",", ":")))


@pytest.mark.parametrize(
    ("model", "native"),
    [
        ("claude-sonnet-4-5", True),
        ("claude-haiku-4-5-20251001", True),
        ("claude-opus-4-8", True),
        ("claude-sonnet-5", True),
        ("claude-haiku-5-5", True),
        ("claude-opus-4-1-20250805", False),
        ("claude-opus-4-20250514", False),
        ("claude-sonnet-4-0", False),
        ("claude-3-7-sonnet-latest", False),
        ("my-own-gateway-model", False),
    ],
)
def test_native_structured_output_came_with_claude_4_5(dial, model, native):
    server, provider = dial()
    assert provider.capabilities(model).output_schema is native
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    provider.send(request(model=model, output_schema=schema), timeout_s=30)
    assert ("output_config" in server.requests[0].body) is native


def test_the_system_text_is_marked_for_the_cache(dial):
    server, provider = dial()
    provider.send(request(system="s"), timeout_s=30)
    assert server.requests[0].body["system"] == [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]


def test_a_request_without_extras_sends_none(dial):
    server, provider = dial()
    provider.send(request(), timeout_s=30)
    assert set(server.requests[0].body) == {"model", "max_tokens", "messages"}


def test_the_request_id_is_kept(dial):
    _, provider = dial(faults=[{"kind": "status", "status": 500, "nth": 3}])
    ids = [provider.send(request(stream=stream), timeout_s=30).request_id for stream in (False, True)]
    assert [*ids, failure(provider).request_id] == ["req_rehearsal_1", "req_rehearsal_2", "req_rehearsal_3"]


def test_a_deprecated_model_is_used_without_noise(dial):
    _, provider = dial(answers=[{"text": "t"}])
    assert provider.send(request(model="claude-sonnet-4-5-20250929"), timeout_s=30).text == "t"


def test_streaming_reuses_its_connection(dial):
    server, provider = dial(answers=[{"text": "x" * 400}])
    for _ in range(5):
        provider.send(request(stream=True), timeout_s=30)
    assert server.connections == 1


def test_the_environment_of_the_sdk_is_not_read(dial, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-other")
    _, provider = dial(answers=[{"text": "t"}])
    assert provider.send(request(), timeout_s=30).text == "t"
    assert str(AnthropicProvider(SecretStr("k"))._client.base_url).startswith("https://api.anthropic.com")  # noqa: SLF001


def test_without_a_key_it_does_not_open():
    with pytest.raises(InputError, match="key"):
        AnthropicProvider.from_settings(Settings())


EVENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(0, 2)
    | st.sampled_from(["text", "tool_use", "text_delta", "thinking", "x"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "index", "delta", "content_block", "message", "usage", "text", "stop_reason"]),
            inner,
        )
    ),
    max_leaves=8,
)


KINDS = ["message_start", "content_block_start", "content_block_delta", "message_delta", "message_stop", "new_kind"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(KINDS),
            st.dictionaries(st.sampled_from(["index", "delta", "content_block", "message", "usage"]), EVENTS),
        ),
        max_size=6,
    )
)
def test_no_sequence_of_events_raises_what_is_not_expected(events):
    assembly = Assembly()
    try:
        for kind, fields in events:
            assembly.take({**fields, "type": kind})
        read_message(assembly.body(), request(), None, 0.0)
    except (*FAULTS, ProviderError):
        return
    assert assembly.begun


@given(EVENTS)
def test_no_body_raises_anything_but_a_provider_error(content):
    body = {"type": "message", "stop_reason": "refusal" if content == "x" else "end_turn", "content": content}
    try:
        reply = read_message(body | {"usage": content, "stop_details": content}, request(), None, 0.0)
    except ProviderError:
        return
    assert all(isinstance(block, TextBlock | ThinkingBlock | ToolUseBlock) for block in reply.blocks)


def test_importing_the_catalogue_imports_no_sdk():
    program = (
        "import sys, elexirion_dagster.providers.catalog; print({'anthropic', 'httpx', 'httpx2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
