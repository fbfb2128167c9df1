"""What an HTTP error status and its hints mean, whoever sent it."""

import time
from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz
from math import isfinite
from types import MappingProxyType

from elexirion_dagster.errors import Cause

_CAUSES: Mapping[int, Cause] = MappingProxyType(
    {
        400: "bad_input",
        401: "auth",
        402: "billing",
        403: "auth",
        404: "model_not_found",
        408: "timeout",
        409: "connection",
        413: "context_exceeded",
        422: "bad_input",
        429: "rate_limited",
        503: "overloaded",
        504: "timeout",
        529: "overloaded",
    }
)
_SERVER_FAULT = 500
_MENDS: Mapping[Cause, str] = MappingProxyType(
    {
        "auth": "Check the key (ANTHROPIC_API_KEY, GEMINI_API_KEY, ELEXIRION_LOCAL_API_KEY) and what it may use.",
        "billing": "Add credit or raise the spend limit at the provider.",
        "model_not_found": "Check the model's name and that the key may use it.",
        "context_exceeded": "Send less text, split the work, or take a model with a larger window.",
        "rate_limited": "Lower max_parallel, or wait.",
        "timeout": "Raise timeout_s, or lower max_tokens.",
    }
)


def cause_of(status: int) -> Cause:
    """Name the cause that a status stands for when the body says nothing better."""
    return _CAUSES.get(status, "connection" if status >= _SERVER_FAULT else "unknown")


def mend_of(cause: Cause) -> str | None:
    """Say how a user puts a provider's refusal right, where they can."""
    return _MENDS.get(cause)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Read `retry-after-ms` or `retry-after` (seconds or a date); uncapped, never negative, None if unreadable."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        number = _number(headers.get(name))
        if number is not None:
            return max(0.0, number * unit)
    date = parsedate_tz(headers.get("retry-after", ""))
    return None if date is None else max(0.0, mktime_tz(date) - time.time())


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if isfinite(number) else None
