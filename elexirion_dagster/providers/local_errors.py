"""What went wrong at a local server, in the words of the closed list of causes."""

from collections.abc import Mapping
from types import MappingProxyType

import httpx

from elexirion_dagster.errors import Cause
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.status import cause_of, mend_of, retry_after_s
from elexirion_dagster.records import Json

FAULTS = (httpx.HTTPError, httpx.InvalidURL, EOFError, ValueError, KeyError, TypeError, AttributeError)
"""What the HTTP client and a hostile answer raise, the last ones from reading what is no chunk."""
_CAUSES: Mapping[str, Cause] = MappingProxyType(
    {
        "context_length_exceeded": "context_exceeded",
        "insufficient_quota": "billing",
        "invalid_api_key": "auth",
        "model_not_found": "model_not_found",
        "overloaded_error": "overloaded",
        "rate_limit_error": "rate_limited",
        "rate_limit_exceeded": "rate_limited",
    }
)
_TOO_LONG = ("context length", "context window", "context size")
_BAD_REQUEST = 400
_READ_CHARS = 100_000  # of what a server says; see ProviderError.without


def status_error(response: httpx.Response) -> ProviderError:
    """Read an error status, whatever its body is."""
    try:
        said = response.json()
    except ValueError:
        said = response.text
    return answered(said, response.status_code, retry_s=retry_after_s(response.headers))


def answered(said: Json, status: int | None, *, retry_s: float | None = None) -> ProviderError:
    """Read an error body: of a status, or inside a stream when `status` is None."""
    error = said.get("error", said) if isinstance(said, dict) else said
    cause = _cause(error, status)
    text = str(error.get("message", error) if isinstance(error, dict) else error)[:_READ_CHARS]
    where = "inside the stream" if status is None else f"with status {status}"
    message = f"the local server answered an error {where}: {text}"
    return ProviderError(message, cause=cause, mend=mend_of(cause), status=status, retry_after_s=retry_s)


def broken(error: Exception) -> ProviderError:
    """Translate what the HTTP client raised, or what reading the answer did."""
    cause: Cause = "timeout" if isinstance(error, httpx.TimeoutException) else "connection"
    what = "no whole answer came in time" if cause == "timeout" else "the answer broke off or is none"
    message = f"expected an answer from the local server, {what} ({type(error).__name__}: {error})"[:_READ_CHARS]
    mend = mend_of(cause) or "Check that the server runs and that ELEXIRION_LOCAL_URL is its base URL."
    return ProviderError(message, cause=cause, mend=mend)


def _cause(error: Json, status: int | None) -> Cause:
    """Go by code and type; by the text only for a prompt that is too long, for which few servers have a code."""
    named = [error.get("code"), error.get("type")] if isinstance(error, dict) else []
    for name in named:
        if isinstance(name, str) and name in _CAUSES:
            return _CAUSES[name]
    if status in (None, _BAD_REQUEST) and any(words in str(error).lower() for words in _TOO_LONG):
        return "context_exceeded"
    if status is not None:
        return cause_of(status)
    return next((cause_of(code) for code in named if isinstance(code, int)), "connection")
