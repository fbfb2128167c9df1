"""What Google's API and its SDK are known to answer (measured), and what we make of it, over real sockets."""

import pytest
from gemini_wire import SIGNED_CALL, THOUGHT, UNKNOWN, body, failure, read, request

from elexirion_dagster.providers.anthropic_body import message_body
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.gemini_body import content_body
from elexirion_dagster.providers.gemini_reply import read_usage
from elexirion_dagster.providers.gemini_stream import Assembly
from elexirion_dagster.records import (
    Message,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    Usage,
)


@pytest.fixture
def dial(dial_gemini):
    return dial_gemini


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
