"""What Google's API and its SDK are known to do (measured), and what we make of it, over real sockets."""

import json
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from elexirion_dagster.errors import InputError
from elexirion_dagster.providers.anthropic_body import message_body
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.gemini import GeminiProvider
from elexirion_dagster.providers.gemini_body import content_body, native_schema, takes_schema
from elexirion_dagster.providers.gemini_errors import FAULTS, answered, broken
from elexirion_dagster.providers.gemini_reply import read_answer, read_usage
from elexirion_dagster.providers.gemini_stream import Assembly
from elexirion_dagster.records import (
    Message,
    Request,
    TextBlock,
    ThinkingBlock,
    Tool,
    ToolResultBlock,
    ToolUseBlock,
    Usage,
)
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer
from elexirion_dagster.settings import Settings

ROOT = Path(__file__).parents[2]
THOUGHT = {"text": "step by step " * 10, "thought": True, "thoughtSignature": "c2ln/+bmVk"}
SIGNED_CALL = {"functionCall": {"name": "read", "args": {"path": "a"}}, "thoughtSignature": "c2lnbmVk"}
UNKNOWN = {"hologram": {"depth": 3}}
TOOL = Tool("read", "Read a file.", {"type": "object", "properties": {"path": {"type": "string"}}})


def request(text="hello", **fields):
    return Request(**{"model": "gemini-2.5-flash", "messages": (Message("user", (TextBlock(text),)),), **fields})


def body(finish="STOP", parts=({"text": "t"},), **more):
    return {"candidates": [{"content": {"parts": list(parts), "role": "model"}, "finishReason": finish}], **more}


def read(given, **fields):
    return read_answer(given, request(**fields), "gemini", 0.0)


def legacy():
    pytest.importorskip("google.generativeai", reason="the extra gemini-legacy is not installed")
    from elexirion_dagster.providers.gemini_legacy import GeminiLegacyProvider

    return GeminiLegacyProvider


@pytest.fixture(params=["gemini", "gemini-legacy"])
def dial(request):
    kind = GeminiProvider if request.param == "gemini" else legacy()
    opened = []

    def start(**script):
        server = RehearsalServer(Script.model_validate(script)).__enter__()
        provider = kind(SecretStr("sk-test"), server.base_url)
        opened.append((server, provider))
        return server, provider

    yield start
    for server, provider in opened:
        provider.close()
        server.__exit__(None, None, None)


def failure(provider, **fields):
    with pytest.raises(ProviderError) as caught:
        provider.send(request(**fields), timeout_s=30)
    return caught.value


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [401, 408, 429, 500, 503])
def test_the_sdk_never_retries_on_its_own(dial, status, stream):
    server, provider = dial(faults=[{"kind": "status", "status": status, "times": 1, "retry_after_s": 0}])
    failure(provider, stream=stream)
    assert server.count == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("finish", "cause"),
    [
        ("SAFETY", "refused"),
        ("RECITATION", "refused"),
        ("LANGUAGE", "refused"),
        ("BLOCKLIST", "refused"),
        ("PROHIBITED_CONTENT", "refused"),
        ("SPII", "refused"),
        ("IMAGE_SAFETY", "refused"),
        ("IMAGE_PROHIBITED_CONTENT", "refused"),
        ("IMAGE_RECITATION", "refused"),
        ("ESCALATION", "refused"),
        ("MODEL_ARMOR", "refused"),
        ("PUP_LIMITED_DISABLED", "auth"),
        ("MISSING_THOUGHT_SIGNATURE", "bad_input"),
        ("OTHER", "malformed_output"),
        ("NO_IMAGE", "malformed_output"),
        ("IMAGE_OTHER", "malformed_output"),
        ("MALFORMED_FUNCTION_CALL", "malformed_output"),
        ("MALFORMED_RESPONSE", "malformed_output"),
        ("UNEXPECTED_TOOL_CALL", "malformed_output"),
        ("TOO_MANY_TOOL_CALLS", "malformed_output"),
        ("FINISH_REASON_UNSPECIFIED", "malformed_output"),
        ("A_NEW_ONE", "malformed_output"),
    ],
)
def test_every_finish_that_is_no_answer_fails_with_what_it_used(dial, finish, cause, stream):
    _, provider = dial(answers=[{"text": "half", "stop_reason": finish, "usage": {"input_tokens": 11}}])
    error = failure(provider, stream=stream)
    assert (error.cause, error.usage, error.billed) == (cause, Usage(11), True)
    assert finish in error.message


def test_every_finish_reason_the_sdk_knows_is_told_apart():
    from google.genai.types import FinishReason

    unknown = []
    for finish in FinishReason:
        try:
            read(body(finish.value))
        except ProviderError as error:
            unknown += [finish] * ("expected a finish reason" in error.message)
    assert unknown == []


@pytest.mark.parametrize(
    ("finish", "ours"),
    [("STOP", "end_turn"), ("MAX_TOKENS", "max_tokens"), ("CONTINUATION", "max_tokens"), (2, "max_tokens")],
)
def test_every_finish_that_is_an_answer_is_translated(finish, ours):
    assert read(body(finish)).stop_reason == ours


@pytest.mark.parametrize("reason", ["PROHIBITED_CONTENT", "A_NEW_ONE", 4])
def test_a_blocked_prompt_is_refused_with_its_reason(reason):
    given = {"promptFeedback": {"blockReason": reason}, "usageMetadata": {"promptTokenCount": 9}, "responseId": "r1"}
    for found in (given, assembled(given)):
        with pytest.raises(ProviderError) as caught:
            read(found)
        category = "PROHIBITED_CONTENT" if reason == 4 else reason
        assert (caught.value.cause, caught.value.category, caught.value.usage) == ("refused", category, Usage(9))
        assert caught.value.request_id == "r1"


def assembled(*chunks):
    assembly = Assembly()
    for chunk in chunks:
        assembly.take(chunk)
    assert assembly.done
    return assembly.body()


def test_thinking_that_ate_the_budget_is_a_cut_answer_that_was_paid_for():
    usage = {"promptTokenCount": 5, "thoughtsTokenCount": 60, "totalTokenCount": 65}
    reply = read({"candidates": [{"content": {"role": "model"}, "finishReason": "MAX_TOKENS"}], "usageMetadata": usage})
    assert (reply.text, reply.stop_reason, reply.usage) == ("", "max_tokens", Usage(5, 60))


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_is_never_text_and_is_kept_verbatim(dial, stream):
    _, provider = dial(answers=[{"blocks": [THOUGHT], "text": "the answer"}])
    told = []
    reply = provider.send(request(stream=stream), timeout_s=30, on_text=told.append)
    assert reply.text == "".join(told) == "the answer"
    assert reply.blocks[0] == ThinkingBlock(THOUGHT)


@pytest.mark.parametrize("stream", [False, True])
def test_an_unknown_part_is_kept_and_is_not_text(dial, stream):
    _, provider = dial(answers=[{"blocks": [UNKNOWN], "text": "the answer"}])
    reply = provider.send(request(stream=stream), timeout_s=30)
    assert (reply.text, reply.blocks[0]) == ("the answer", ThinkingBlock(UNKNOWN))


def test_a_tool_loop_gets_its_thinking_and_signatures_back():
    reply = read(body(parts=[THOUGHT, SIGNED_CALL, {"functionCall": {"id": "own", "name": "read"}}]))
    assert reply.stop_reason == "tool_use"
    first, second = (block for block in reply.blocks if isinstance(block, ToolUseBlock))
    assert (first.input, second.id, second.input) == ({"path": "a"}, "own", {})
    results = (ToolResultBlock(first.id, "content of a"), ToolResultBlock("own", "no such file", is_error=True))
    turns = (*request().messages, Message("assistant", reply.blocks), Message("user", results))
    sent = content_body(request(messages=turns))["contents"]
    call = {"id": first.id, "name": "read", "args": {"path": "a"}}
    assert sent[1] == {
        "role": "model",
        "parts": [
            THOUGHT,
            {"functionCall": call, "thoughtSignature": "c2lnbmVk"},
            {"functionCall": {"id": "own", "name": "read", "args": {}}},
        ],
    }
    assert [part["functionResponse"] for part in sent[2]["parts"]] == [
        {"id": first.id, "name": "read", "response": {"output": "content of a"}},
        {"id": "own", "name": "read", "response": {"error": "no such file"}},
    ]


def test_calls_without_ids_get_some_that_differ_within_a_conversation():
    calls = [{"functionCall": {"name": "read"}}] * 2
    ids = []
    for turns in (request().messages, request().messages * 3):
        ids += [block.id for block in read(body(parts=calls), messages=turns).blocks]
    assert len(set(ids)) == 4


def test_signed_text_is_text_and_its_signature_goes_back_with_it():
    signed = {"text": "answer", "thoughtSignature": "c2ln"}
    last = {"text": "", "thoughtSignature": "bGFzdA=="}
    reply = read(assembled(body(None, [{"text": "an "}, {"text": "open "}]), body("STOP", [signed, last])))
    assert reply.text == "an open answer"
    turn = content_body(request(messages=(Message("assistant", reply.blocks),)))["contents"][0]
    assert turn["parts"] == [{"text": "an open "}, signed, last]


def test_the_thinking_of_another_provider_stays_with_it():
    theirs = ThinkingBlock({"type": "thinking", "thinking": "x", "signature": "s"})
    turns = (Message("user", (TextBlock("q"),)), Message("assistant", (theirs, ThinkingBlock(THOUGHT), TextBlock("a"))))
    assert content_body(request(messages=turns))["contents"][1]["parts"] == [THOUGHT, {"text": "a"}]
    assert message_body(request(messages=turns), native_schema=True)["messages"][1]["content"] == [
        dict(theirs.raw),
        {"type": "text", "text": "a"},
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"promptTokenCount": 10, "candidatesTokenCount": 3, "totalTokenCount": 13}, Usage(10, 3)),
        ({"promptTokenCount": 10, "cachedContentTokenCount": 8, "candidatesTokenCount": 3}, Usage(2, 3, 8)),
        ({"promptTokenCount": 10, "candidatesTokenCount": 3, "thoughtsTokenCount": 20}, Usage(10, 23)),
        ({"promptTokenCount": 10, "toolUsePromptTokenCount": 4, "totalTokenCount": 14}, Usage(14)),
        ({"promptTokenCount": 3, "candidatesTokenCount": 1, "totalTokenCount": 9}, Usage(3, 6)),
        ({"promptTokenCount": 3, "cachedContentTokenCount": 5}, Usage(0, 0, 3)),
        ({"promptTokenCount": "3", "candidatesTokenCount": -1, "totalTokenCount": None}, Usage()),
        (None, Usage()),
        ([], Usage()),
    ],
)
def test_the_buckets_add_up_to_the_total(given, expected):
    assert read_usage(given) == expected


@pytest.mark.parametrize("stream", [False, True])
def test_the_buckets_arrive_and_are_priced(dial, stream):
    _, provider = dial(
        answers=[{"text": "t", "usage": {"input_tokens": 1000, "output_tokens": 100, "cache_read_tokens": 2000}}]
    )
    reply = provider.send(request(stream=stream), timeout_s=30)
    assert reply.usage == Usage(1000, 100, 2000)
    assert reply.cost_usd == pytest.approx((0.3 * 1000 + 2.5 * 100 + 0.03 * 2000) / 1e6)
    assert reply.request_id == "rehearsal-1"


def error(status, *details, message="no", **more):
    return {"error": {"code": 400, "message": message, "status": status, "details": list(details), **more}}


def rpc(kind, **fields):
    return {"@type": f"type.googleapis.com/google.rpc.{kind}", **fields}


def quota(name, value="50"):
    return rpc("QuotaFailure", violations=[{"quotaId": name, "quotaValue": value}])


@pytest.mark.parametrize(
    ("status", "said", "cause"),
    [
        (429, error("RESOURCE_EXHAUSTED"), "rate_limited"),
        (429, error("RESOURCE_EXHAUSTED", quota("GenerateRequestsPerMinutePerProjectPerModel")), "rate_limited"),
        (429, error("RESOURCE_EXHAUSTED", quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier")), "billing"),
        (429, error("RESOURCE_EXHAUSTED", quota("GenerateRequestsPerMinute-FreeTier", "0")), "billing"),
        (429, "slow down", "rate_limited"),
        (400, error("INVALID_ARGUMENT", rpc("ErrorInfo", reason="API_KEY_INVALID")), "auth"),
        (400, error("INVALID_ARGUMENT", message="API key not valid. Please pass a valid API key."), "auth"),
        (400, error("INVALID_ARGUMENT", message="API key expired. Please renew the API key."), "auth"),
        (
            400,
            error(
                "INVALID_ARGUMENT",
                message="The input token count (1200000) exceeds the maximum number of tokens allowed (1048575).",
            ),
            "context_exceeded",
        ),
        (400, error("INVALID_ARGUMENT", message="Unknown name"), "bad_input"),
        (400, error("FAILED_PRECONDITION", message="Please enable billing on your project"), "billing"),
        (400, error("FAILED_PRECONDITION", message="User location is not supported for the API use."), "auth"),
        (401, error("UNAUTHENTICATED"), "auth"),
        (403, error("PERMISSION_DENIED"), "auth"),
        (403, error("PERMISSION_DENIED", rpc("ErrorInfo", reason="BILLING_DISABLED")), "billing"),
        (403, error("PERMISSION_DENIED", rpc("ErrorInfo", reason="SERVICE_DISABLED")), "auth"),
        (404, error("NOT_FOUND"), "model_not_found"),
        (500, error("INTERNAL"), "connection"),
        (503, error("UNAVAILABLE"), "overloaded"),
        (504, error("DEADLINE_EXCEEDED"), "timeout"),
        (200, error("UNAVAILABLE"), "overloaded"),
        (200, error("INTERNAL"), "connection"),
        (503, [error("UNAVAILABLE")], "overloaded"),
        (503, "<html>", "overloaded"),
        (502, None, "connection"),
        (400, {"error": "text"}, "bad_input"),
    ],
)
def test_reason_quota_status_and_text_decide_in_this_order(status, said, cause):
    found = answered(said, status, {}, begun=False)
    assert (found.cause, found.status, found.billed) == (cause, status, False)


@pytest.mark.parametrize(
    ("delay", "headers", "expected"),
    [
        ("34s", {}, 34.0),
        ("34.074824224s", {"retry-after": "9"}, 34.074824224),
        ("-1s", {}, 0.0),
        ("soon", {"retry-after": "9"}, 9.0),
        ("nans", {}, None),
        (None, {}, None),
    ],
)
def test_the_hint_is_read_from_the_body_first(delay, headers, expected):
    said = error("RESOURCE_EXHAUSTED", rpc("RetryInfo", retryDelay=delay))
    assert answered(said, 429, headers, begun=False).retry_after_s == expected


def test_what_was_never_sent_cost_nothing():
    assert not broken(httpx2.ConnectError("refused"), begun=False).billed
    assert broken(httpx2.ReadError("gone"), begun=False).billed


@pytest.mark.parametrize("stream", [False, True])
def test_a_bad_key_is_told_by_its_reason(dial, stream):
    _, provider = dial(faults=[{"kind": "status", "status": 400, "error_code": "API_KEY_INVALID"}])
    error = failure(provider, stream=stream)
    assert error.cause == "auth"
    assert "GEMINI_API_KEY" in error.mend


def test_an_error_inside_a_stream_keeps_its_cause_and_is_billed(dial):
    _, provider = dial(answers=[{"text": "x" * 400}], faults=[{"kind": "error_event", "type": "rate_limit_error"}])
    error = failure(provider, stream=True)
    assert (error.cause, error.status, error.billed) == ("rate_limited", 200, True)


def test_a_cut_stream_is_billed_at_an_unknown_amount(dial):
    _, provider = dial(answers=[{"text": "x" * 400}], faults=[{"kind": "cut"}])
    error = failure(provider, stream=True)
    assert (error.cause, error.billed, error.usage) == ("connection", True, None)


def test_a_proxys_page_is_named_and_cost_nothing(dial):
    _, provider = dial(faults=[{"kind": "html"}])
    for stream in (False, True):
        error = failure(provider, stream=stream)
        assert (error.cause, error.billed) == ("connection", False)
        assert "html" in error.message


@pytest.mark.parametrize(
    "given", [{}, [], None, "text", {"candidates": []}, {"candidates": [{"content": {}}]}, {"promptFeedback": {}}]
)
def test_json_that_is_no_answer_is_none(given):
    with pytest.raises(ProviderError) as caught:
        read(given)
    assert caught.value.cause == "connection"


@pytest.mark.parametrize(
    "part", [{"text": 5}, {"functionCall": {}}, {"functionCall": {"name": "n", "args": [1]}}, "text", None]
)
def test_parts_that_lack_what_their_kind_promises_are_malformed(part):
    with pytest.raises(ProviderError) as caught:
        read(body(parts=[part], usageMetadata={"candidatesTokenCount": 3}))
    assert (caught.value.cause, caught.value.usage) == ("malformed_output", Usage(0, 3))


SCHEMA = {
    "type": "object",
    "properties": {
        "rows": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"level": {"enum": ["a", "b"]}, "note": {"type": ["string", "null"], "minLength": 2}},
                "required": ["level", "note"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["rows"],
    "additionalProperties": False,
}


def test_a_schema_goes_into_native_structured_output(dial):
    server, provider = dial()
    if provider.name != "gemini":
        pytest.skip("the older form has its own test")
    provider.send(request(output_schema=SCHEMA, system="s"), timeout_s=30)
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
    sent = content_body(request(model=model, output_schema=SCHEMA, tools=(TOOL,)))
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
