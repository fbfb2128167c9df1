"""What the SDK is known to do (measured), and what we make of it; through the real SDK over real sockets."""

import pytest
from anthropic_wire import failure, request

from elexirion_dagster.providers.anthropic import AnthropicProvider
from elexirion_dagster.providers.anthropic_reply import read_message
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.records import Message, TextBlock, ThinkingBlock, ToolResultBlock, Usage


@pytest.fixture
def dial(dial_to):
    return dial_to(AnthropicProvider)


THINKING = {"type": "thinking", "thinking": "step by step " * 10, "signature": "c2lnbmVk"}


REDACTED = {"type": "redacted_thinking", "data": "b3BhcXVl"}


UNKNOWN = {"type": "hologram", "text": "not an answer", "depth": 3}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [408, 409, 429, 500, 529])
def test_the_sdk_never_retries_on_its_own(dial, status, stream):
    server, provider = dial(faults=[{"kind": "status", "status": status, "times": 1, "retry_after_ms": 1}])
    failure(provider, stream=stream)
    assert server.count == 1
    assert server.requests[0].headers["x-stainless-retry-count"] == "0"


@pytest.mark.parametrize(
    ("kind", "status", "cause"),
    [
        ("overloaded_error", 529, "overloaded"),
        ("overloaded_error", 500, "overloaded"),
        ("rate_limit_error", 429, "rate_limited"),
        ("rate_limit_error", 400, "rate_limited"),
        ("billing_error", 402, "billing"),
        ("authentication_error", 401, "auth"),
        ("permission_error", 403, "auth"),
        ("not_found_error", 404, "model_not_found"),
        ("request_too_large", 413, "context_exceeded"),
        ("timeout_error", 504, "timeout"),
        ("invalid_request_error", 400, "bad_input"),
        ("api_error", 500, "connection"),
        ("some_new_error", 503, "overloaded"),
    ],
)
def test_the_type_of_an_error_decides_and_then_its_status(dial, kind, status, cause):
    _, provider = dial(faults=[{"kind": "status", "status": status, "type": kind}])
    assert failure(provider).cause == cause


@pytest.mark.parametrize(
    "code", ["enforced_spend_limit_reached", "linked_organization_billing_unavailable", "user_profile_not_billable"]
)
def test_a_spend_limit_is_billing_and_not_a_rate(dial, code):
    _, provider = dial(faults=[{"kind": "status", "status": 429, "error_code": code}])
    assert failure(provider).cause == "billing"


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("prompt is too long: 210000 tokens > 200000 maximum", "context_exceeded"),
        ("input length and `max_tokens` exceed context limit: 1 + 2 > 3", "context_exceeded"),
        ("Your credit balance is too low to access the Anthropic API.", "billing"),
        ("messages: at least one message is required", "bad_input"),
    ],
)
def test_a_bad_request_is_told_apart_by_what_it_says(dial, message, cause):
    _, provider = dial(faults=[{"kind": "status", "status": 400, "message": message}])
    assert failure(provider).cause == cause


def test_an_error_inside_a_stream_has_status_200_and_its_own_cause(dial):
    for kind, cause in (
        ("overloaded_error", "overloaded"),
        ("api_error", "connection"),
        ("rate_limit_error", "rate_limited"),
    ):
        _, provider = dial(answers=[{"text": "x" * 400}], faults=[{"kind": "error_event", "type": kind}])
        error = failure(provider, stream=True)
        assert (error.cause, error.status, error.billed) == (cause, 200, True)


def test_an_overload_before_the_message_began_cost_nothing(dial):
    _, provider = dial(faults=[{"kind": "error_event", "after_events": 0}])
    error = failure(provider, stream=True)
    assert (error.cause, error.billed) == ("overloaded", False)


def test_a_cut_stream_is_billed_at_an_unknown_amount(dial):
    _, provider = dial(answers=[{"text": "x" * 400}], faults=[{"kind": "cut"}])
    error = failure(provider, stream=True)
    assert (error.cause, error.billed, error.usage) == ("connection", True, None)


def test_a_stream_cut_after_its_usage_keeps_the_usage(dial):
    usage = {"input_tokens": 9, "output_tokens": 8, "cache_read_tokens": 7, "cache_write_tokens": 6}
    _, provider = dial(answers=[{"text": "x", "usage": usage}], faults=[{"kind": "cut", "after_events": 99}])
    error = failure(provider, stream=True)
    assert (error.cause, error.usage) == ("connection", Usage(9, 8, 7, 6))


def test_a_refusal_names_its_category(dial):
    _, provider = dial(faults=[{"kind": "refusal", "category": "cyber"}])
    for stream in (False, True):
        error = failure(provider, stream=stream)
        assert (error.cause, error.category) == ("refused", "cyber")


def test_a_refusal_without_category_is_a_refusal(dial):
    _, provider = dial(faults=[{"kind": "refusal", "category": None}])
    assert failure(provider).category is None


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ("end_turn", "end_turn"),
        ("max_tokens", "max_tokens"),
        ("stop_sequence", "stop_sequence"),
        ("pause_turn", "pause_turn"),
        ("model_context_window_exceeded", "context_exceeded"),
    ],
)
def test_every_known_stop_reason_is_translated(dial, given, ours, stream):
    _, provider = dial(answers=[{"text": "t", "stop_reason": given}])
    assert provider.send(request(stream=stream), timeout_s=30).stop_reason == ours


@pytest.mark.parametrize("stream", [False, True])
def test_thinking_is_kept_verbatim_and_sent_back(dial, stream):
    server, provider = dial(answers=[{"blocks": [THINKING, REDACTED], "tools": [{"name": "read"}]}])
    reply = provider.send(request(stream=stream), timeout_s=30)
    assert [block.raw for block in reply.blocks if isinstance(block, ThinkingBlock)] == [THINKING, REDACTED]
    turns = (*request().messages, Message("assistant", reply.blocks), Message("user", (ToolResultBlock("t", "done"),)))
    provider.send(request(messages=turns), timeout_s=30)
    assert server.requests[-1].body["messages"][1]["content"][:2] == [THINKING, REDACTED]


@pytest.mark.parametrize("stream", [False, True])
def test_an_unknown_block_is_kept_and_is_not_text(dial, stream):
    _, provider = dial(answers=[{"blocks": [UNKNOWN], "text": "the answer"}])
    reply = provider.send(request(stream=stream), timeout_s=30)
    assert reply.text == "the answer"
    assert reply.blocks[0] == ThinkingBlock(UNKNOWN)


@pytest.mark.parametrize("stream", [False, True])
def test_the_four_buckets_arrive_and_are_priced(dial, stream):
    usage = {"input_tokens": 1000, "output_tokens": 100, "cache_read_tokens": 2000, "cache_write_tokens": 400}
    _, provider = dial(answers=[{"text": "t", "usage": usage}])
    reply = provider.send(request(stream=stream), timeout_s=30)
    assert reply.usage == Usage(1000, 100, 2000, 400)
    assert reply.cost_usd == pytest.approx((5 * 1000 + 25 * 100 + 0.5 * 2000 + 6.25 * 400) / 1e6)


def test_many_output_tokens_are_streamed_unasked(dial):
    server, provider = dial(answers=[{"text": "t"}])
    for max_tokens in (21_333, 21_334):
        assert provider.send(request(max_tokens=max_tokens), timeout_s=30).text == "t"
    assert [sent.body.get("stream", False) for sent in server.requests] == [False, True]


def test_a_proxys_page_is_named_and_cost_nothing(dial):
    _, provider = dial(faults=[{"kind": "html"}])
    for stream in (False, True):
        error = failure(provider, stream=stream)
        assert error.cause == "connection"
        assert not error.billed


def test_json_that_is_no_message_is_no_answer():
    for body in ({}, [], None, "text", {"type": "message"}, {"type": "message", "stop_reason": None, "content": []}):
        with pytest.raises(ProviderError) as caught:
            read_message(body, request(), None, 0.0)
        assert caught.value.cause == "connection"


def test_content_that_lacks_what_its_type_promises_is_malformed():
    for block in (
        {"type": "text"},
        {"type": "tool_use", "id": "t", "name": "n", "input": None},
        {"no": "type"},
        "text",
    ):
        body = {"type": "message", "stop_reason": "end_turn", "content": [block], "usage": {"output_tokens": 3}}
        with pytest.raises(ProviderError) as caught:
            read_message(body, request(), None, 0.0)
        assert (caught.value.cause, caught.value.usage) == ("malformed_output", Usage(0, 3))


def test_a_tool_call_cut_at_max_tokens_is_left_out():
    block = {"type": "tool_use", "id": "t", "name": "n", "input": None}
    body = {"type": "message", "stop_reason": "max_tokens", "content": [{"type": "text", "text": "a"}, block]}
    assert read_message(body, request(), None, 0.0).blocks == (TextBlock("a"),)
