"""Google's models through the official `google-genai` SDK: one attempt, no retries of its own, nothing on trust."""

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from math import ceil

import httpcore2
import httpx2
from google import genai
from google.genai import errors, types
from pydantic import SecretStr

from elexirion_dagster.errors import Cancelled, ElexirionError
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.gemini_body import content_body, model_path
from elexirion_dagster.providers.gemini_calls import GeminiCalls
from elexirion_dagster.providers.gemini_errors import FAULTS, IN_STREAM, answered, broken
from elexirion_dagster.providers.gemini_reply import no_answer
from elexirion_dagster.providers.gemini_stream import assemble
from elexirion_dagster.providers.sockets import watch_sockets
from elexirion_dagster.records import Json, Request

_BASE_URL = "https://generativelanguage.googleapis.com/"
_VERSION = "v1beta"
_CONNECT_S = 10.0
_CONNECTIONS = 1024
"""As many as a run may have threads."""
_EVENTS = "text/event-stream"
_FAULTS = (errors.APIError, *FAULTS)


class GeminiProvider(GeminiCalls):
    """The provider over `google-genai`.

    Calls go through the SDK's own transport, below its `models`: there, parts and finish reasons that the SDK does not
    know are dropped or warned about, and an answer that is cut is passed on as whole.
    """

    name = "gemini"

    def __init__(self, key: SecretStr, base_url: str | None = None) -> None:
        super().__init__(key)
        limits = httpx2.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS)
        trust = httpx2.create_ssl_context()
        self._http = httpx2.Client(
            verify=trust, limits=limits, event_hooks={"request": [_soon_connected], "response": [_checked]}
        )
        watch_sockets(self._http, self._watch, httpcore2.ReadTimeout)
        options = types.HttpOptions(
            base_url=base_url or _BASE_URL,
            api_version=_VERSION,
            httpx_client=self._http,
            async_client_args={"verify": trust, "ssl": trust},  # else the SDK loads three more, 80 ms each (measured)
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        self._client = genai.Client(api_key=key.get_secret_value(), vertexai=False, http_options=options)
        self._api = self._client._api_client  # noqa: SLF001  the public methods parse what we must see, see above

    def close(self) -> None:
        """Close all connections."""
        self._client.close()
        self._http.close()

    def _plain(self, request: Request, timeout_s: float, cancelled: threading.Event | None) -> Json:
        path = f"{model_path(request.model)}:generateContent"
        return self._posted(path, content_body(request), timeout_s, cancelled)

    def _counted(self, request: Request, timeout_s: float, cancelled: threading.Event | None) -> Json:
        """Send the whole request to be counted; the SDK's own method leaves out system text, tools and schema."""
        model = model_path(request.model)
        body: dict[str, Json] = {"generateContentRequest": {"model": model, **content_body(request)}}
        return self._posted(f"{model}:countTokens", body, timeout_s, cancelled)

    def _posted(self, path: str, body: dict[str, Json], timeout_s: float, cancelled: threading.Event | None) -> Json:
        try:
            return json.loads(self._api.request("post", path, body, _options(timeout_s)).body or "")
        except _FAULTS as error:
            raise _failure(error, cancelled, begun=False) from None

    def _streamed(
        self,
        request: Request,
        timeout_s: float,
        cancelled: threading.Event | None,
        on_text: Callable[[str], None] | None,
    ) -> Json:
        path = f"{model_path(request.model)}:streamGenerateContent?alt=sse"
        chunks = self._api.request_streamed("post", path, content_body(request), _options(timeout_s))
        with closing(chunks):
            return assemble(
                map(_event, chunks),
                on_text,
                faults=(*_FAULTS, ProviderError),
                failure=lambda error, begun: _failure(error, cancelled, begun=begun),
            )


def _options(timeout_s: float) -> types.HttpOptions:
    return types.HttpOptions(timeout=ceil(timeout_s * 1000))


def _soon_connected(call: httpx2.Request) -> None:
    """Bound the connecting apart from the whole call; the SDK has one timeout for both."""
    bounds = call.extensions["timeout"]
    bounds["connect"] = min(bounds["connect"], _CONNECT_S)


def _checked(answer: httpx2.Response) -> None:
    """Refuse an answer by its content type before any of it is read; the SDK does not look at it."""
    wanted = _EVENTS if answer.url.params.get("alt") == "sse" else "json"
    came = answer.headers.get("content-type", "")
    if answer.is_success and wanted not in came:
        raise no_answer(came)


def _event(chunk: types.HttpResponse) -> Mapping[str, Json]:
    found = json.loads(chunk.body or "")
    if not isinstance(found, dict):
        raise TypeError(f"a chunk that is no object: {found!r:.100}")
    return found


def _failure(error: Exception, cancelled: threading.Event | None, *, begun: bool) -> ElexirionError:
    if cancelled is not None and cancelled.is_set():
        return Cancelled()
    if not isinstance(error, errors.APIError):
        return broken(error, begun=begun)
    if isinstance(error.response, httpx2.Response):
        return answered(error.details, error.response.status_code, error.response.headers, begun=begun)
    return answered(error.details, IN_STREAM, {}, begun=begun)
