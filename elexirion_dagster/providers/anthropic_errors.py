"""What went wrong at Anthropic, in the words of the closed list of causes."""

from collections.abc import Mapping
from types import MappingProxyType

import anthropic
import httpx2

from elexirion_dagster.errors import Cause
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.status import cause_of, mend_of, retry_after_s
from elexirion_dagster.providers.unsent import UNSENT

_CAUSES: Mapping[str, Cause] = MappingProxyType(
    {
        "authentication_error": "auth",
        "billing_error": "billing",
        "not_found_error": "model_not_found",
        "overloaded_error": "overloaded",
        "permission_error": "auth",
        "rate_limit_error": "rate_limited",
        "request_too_large": "context_exceeded",
        "timeout_error": "timeout",
    }
)
_BILLING_CODES = ("spend_limit", "billing", "billable")
_TOO_LONG = ("prompt is too long", "exceed context limit", "input is too long")
_NO_CREDIT = "credit balance is too low"
_OK = 200
_READ_CHARS = 100_000  # of what a server says; see ProviderError.without
FAULTS = (
    anthropic.AnthropicError,
    httpx2.HTTPError,
    httpx2.InvalidURL,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
)
"""What the SDK, its client and a hostile answer raise; the last four from reading what is no message event."""


def translated(error: Exception, *, begun: bool) -> ProviderError:
    """Turn what the SDK or its HTTP client raised into our error; an answer that had `begun` is billed."""
    if isinstance(error, anthropic.APIStatusError):
        return _status_error(error, begun=begun)
    return _broken(error, begun=begun)


def _status_error(error: anthropic.APIStatusError, *, begun: bool) -> ProviderError:
    cause = _cause(error)
    in_stream = error.status_code == _OK
    said = (error.api_message or error.message)[:_READ_CHARS]
    where = "inside the stream" if in_stream else f"status {error.status_code}"
    return ProviderError(
        f"Anthropic answered {error.type or 'an error'} ({where}): {said}",
        cause=cause,
        mend=mend_of(cause),
        retry_after_s=retry_after_s(error.response.headers),
        status=error.status_code,
        billed=begun,
        request_id=error.request_id,
    )


def _cause(error: anthropic.APIStatusError) -> Cause:
    """Go by the type and the code; by the text only where the API gives neither for a thing we must tell apart."""
    code = error.error_code or ""
    if any(word in code for word in _BILLING_CODES):
        return "billing"
    if error.type is not None and str(error.type) in _CAUSES:
        return _CAUSES[str(error.type)]
    said = (error.api_message or "").lower()
    if error.type == "invalid_request_error":
        if any(words in said for words in _TOO_LONG):
            return "context_exceeded"
        if _NO_CREDIT in said:
            return "billing"
    return "connection" if error.status_code == _OK else cause_of(error.status_code)


def _broken(error: Exception, *, begun: bool) -> ProviderError:
    cause, what = _kind(error)
    inner = error.__cause__ if isinstance(error, anthropic.APIConnectionError) and error.__cause__ else error
    return ProviderError(
        f"expected an answer from Anthropic, {what} ({type(inner).__name__}: {inner})"[:_READ_CHARS],
        cause=cause,
        mend=mend_of(cause),
        billed=begun or not isinstance(inner, UNSENT),
    )


def _kind(error: Exception) -> tuple[Cause, str]:
    if isinstance(error, anthropic.APITimeoutError | httpx2.TimeoutException):
        return "timeout", "no whole answer came in time"
    if isinstance(error, anthropic.APIConnectionError | httpx2.HTTPError):
        return "connection", "the connection broke"
    if isinstance(error, EOFError):
        return "connection", "came the end of the stream too early"
    return "connection", "came something the Messages API does not send"
