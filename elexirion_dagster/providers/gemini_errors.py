"""What went wrong at Gemini, in the words of the closed list of causes; whichever SDK carried it."""

from collections.abc import Mapping
from math import isfinite
from types import MappingProxyType

import httpx2

from elexirion_dagster.errors import Cause
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.status import cause_of, mend_of, retry_after_s
from elexirion_dagster.providers.unsent import UNSENT
from elexirion_dagster.records import Json

FAULTS = (
    httpx2.HTTPError,
    httpx2.InvalidURL,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
)
"""What the HTTP client and a hostile answer raise, the last ones from reading what is no answer."""
_REASONS: Mapping[str, Cause] = MappingProxyType(
    {
        "API_KEY_INVALID": "auth",
        "API_KEY_SERVICE_BLOCKED": "auth",
        "API_KEY_HTTP_REFERRER_BLOCKED": "auth",
        "API_KEY_IP_ADDRESS_BLOCKED": "auth",
        "CONSUMER_INVALID": "auth",
        "CONSUMER_SUSPENDED": "auth",
        "SERVICE_DISABLED": "auth",
        "BILLING_DISABLED": "billing",
        "RATE_LIMIT_EXCEEDED": "rate_limited",
    }
)
_STATUSES: Mapping[str, Cause] = MappingProxyType(
    {
        "DEADLINE_EXCEEDED": "timeout",
        "NOT_FOUND": "model_not_found",
        "PERMISSION_DENIED": "auth",
        "RESOURCE_EXHAUSTED": "rate_limited",
        "UNAUTHENTICATED": "auth",
        "UNAVAILABLE": "overloaded",
    }
)
_TOO_LONG = "exceeds the maximum number of tokens"
_BAD_KEY = ("api key not valid", "api key expired", "api key not found")
IN_STREAM = 200
"""The status of an error inside a stream that had begun well."""
_BAD_REQUEST = 400
_READ_CHARS = 100_000  # of what a server says; see ProviderError.without


def answered(said: Json, status: int, headers: Mapping[str, str], *, begun: bool) -> ProviderError:
    """Read an error body; `status` is IN_STREAM inside a stream, and an answer that had `begun` is billed."""
    error = error_of(said)
    name = error.get("status")
    details = _objects(error.get("details"))
    cause = _cause(error, details, status)
    where = "inside the stream" if status == IN_STREAM else f"status {status}"
    return ProviderError(
        f"Gemini answered {name or 'an error'} ({where}): {error.get('message')!s:.{_READ_CHARS}}",
        cause=cause,
        mend=mend_of(cause),
        retry_after_s=_retry_s(details, headers),
        status=status,
        billed=begun,
    )


def broken(error: Exception, *, begun: bool) -> ProviderError:
    """Translate what the HTTP client raised, or what reading the answer did."""
    cause: Cause = "timeout" if isinstance(error, httpx2.TimeoutException) else "connection"
    what = "no whole answer came in time" if cause == "timeout" else "the answer broke off or is none"
    return ProviderError(
        f"expected an answer from Gemini, {what} ({type(error).__name__}: {error})"[:_READ_CHARS],
        cause=cause,
        mend=mend_of(cause),
        billed=begun or not isinstance(error, UNSENT),
    )


def error_of(said: Json) -> Mapping[str, Json]:
    """Find the error in a body: an object, a list of one (streams that are arrays), or something else altogether."""
    body = said[0] if isinstance(said, list) and said else said
    error = body.get("error", body) if isinstance(body, dict) else body
    return error if isinstance(error, dict) else {"message": error}


def _cause(error: Mapping[str, Json], details: list[dict[str, Json]], status: int) -> Cause:
    """Go by reason, quota and status; by the text only where the API gives one status to things we must tell apart."""
    reasons = [detail.get("reason") for detail in details]
    known = next((_REASONS[reason] for reason in reasons if isinstance(reason, str) and reason in _REASONS), None)
    if known is not None:
        return known
    name, said = error.get("status"), str(error.get("message")).lower()
    if name == "RESOURCE_EXHAUSTED":
        return "billing" if any(map(_is_spent, details)) else "rate_limited"
    if name == "INVALID_ARGUMENT":
        return _bad_request(said)
    if name == "FAILED_PRECONDITION":  # no free tier here, or no service at all
        return "billing" if "billing" in said else "auth"
    if isinstance(name, str) and name in _STATUSES:
        return _STATUSES[name]
    return "connection" if status == IN_STREAM else _bad_request(said) if status == _BAD_REQUEST else cause_of(status)


def _bad_request(said: str) -> Cause:
    if _TOO_LONG in said:
        return "context_exceeded"
    return "auth" if any(words in said for words in _BAD_KEY) else "bad_input"


def _is_spent(detail: Mapping[str, Json]) -> bool:
    """Whether a violated quota will not come back soon: it is one of a whole day, or there is none at all."""
    violations = _objects(detail.get("violations"))
    return any("PerDay" in str(each.get("quotaId")) or str(each.get("quotaValue")) == "0" for each in violations)


def _objects(value: Json) -> list[dict[str, Json]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _retry_s(details: list[dict[str, Json]], headers: Mapping[str, str]) -> float | None:
    """Read RetryInfo's delay such as `34.07s`, else the headers; uncapped, never negative, None if unreadable."""
    for detail in details:
        try:
            delay = float(str(detail.get("retryDelay", "")).removesuffix("s"))
        except ValueError:
            continue
        if isfinite(delay):
            return max(0.0, delay)
    return retry_after_s(headers)
