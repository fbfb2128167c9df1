"""Errors of Google's API, in bodies, headers and streams, by their cause."""

import httpx2
import pytest
from gemini_wire import body, failure, read

from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.gemini_errors import answered, broken
from elexirion_dagster.records import (
    Usage,
)


@pytest.fixture
def dial(dial_gemini):
    return dial_gemini


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
