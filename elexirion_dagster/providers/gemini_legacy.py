"""Google's models through the older `google-generativeai` SDK, for environments that are held to it.

The SDK builds, signs and sends each request over REST. What comes back is read as it came: the SDK's own messages are
too old for it and lose the mark of thinking, token counts and new finish reasons.
"""

import json
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from typing import Any

import httpcore2
import httpx2
import requests
from pydantic import SecretStr
from requests.adapters import BaseAdapter

from elexirion_dagster.errors import Cancelled, ElexirionError
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.gemini_calls import GeminiCalls
from elexirion_dagster.providers.gemini_errors import FAULTS, IN_STREAM, answered, broken
from elexirion_dagster.providers.gemini_legacy_body import legacy_body
from elexirion_dagster.providers.gemini_reply import no_answer
from elexirion_dagster.providers.gemini_stream import array_items, assemble
from elexirion_dagster.providers.sockets import watch_sockets
from elexirion_dagster.records import Json, Request

with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)  # support has ended; whoever names gemini-legacy has chosen so
    # Takes 1.2 s (measured): the catalogue imports this module on first use only.
    from google.generativeai import protos
    from google.generativeai.client import _ClientManager

_BASE_URL = "https://generativelanguage.googleapis.com"
_CONNECT_S = 10.0
_CONNECTIONS = 1024
"""As many as a run may have threads."""


class GeminiLegacyProvider(GeminiCalls):
    """The provider over `google-generativeai`; what the older form cannot express goes into the system text.

    The SDK keeps its clients in a global of its module; this one has a manager of its own, so that two keys or two
    base URLs can live in one process.
    """

    name = "gemini-legacy"

    def __init__(self, key: SecretStr, base_url: str | None = None) -> None:
        super().__init__(key)
        limits = httpx2.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS)
        self._http = httpx2.Client(limits=limits)
        watch_sockets(self._http, self._watch, httpcore2.ReadTimeout)
        self._wire = _Wire(self._http)
        manager = _ClientManager()
        endpoint = (base_url or _BASE_URL).rstrip("/")
        manager.configure(api_key=key.get_secret_value(), transport="rest", client_options={"api_endpoint": endpoint})
        self._client = manager.get_default_client("generative")
        session = self._client.transport._session  # noqa: SLF001  the SDK offers no way to hand it one
        session.mount("https://", self._wire)
        session.mount("http://", self._wire)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def _plain(self, request: Request, timeout_s: float, cancelled: threading.Event | None) -> Json:
        return self._read(self._client.generate_content, _message(request), timeout_s, cancelled)

    def _counted(self, request: Request, timeout_s: float, cancelled: threading.Event | None) -> Json:
        message = _message(request)
        counted = protos.CountTokensRequest(model=message.model, generate_content_request=message)
        return self._read(self._client.count_tokens, counted, timeout_s, cancelled)

    def _streamed(
        self,
        request: Request,
        timeout_s: float,
        cancelled: threading.Event | None,
        on_text: Callable[[str], None] | None,
    ) -> Json:
        response = self._sent(self._client.stream_generate_content, _message(request), timeout_s, cancelled)
        try:
            return assemble(
                _events(response),
                on_text,
                faults=(*FAULTS, ProviderError),
                failure=lambda error, begun: _failure(error, cancelled, begun=begun),
            )
        finally:
            response.close()

    def _read(
        self, call: Callable[..., object], message: Any, timeout_s: float, cancelled: threading.Event | None
    ) -> Json:
        response = self._sent(call, message, timeout_s, cancelled)
        try:
            data = response.read()
            return json.loads(data) if _is_json(response) else response.text
        except FAULTS as error:
            raise _failure(error, cancelled, begun=False) from None
        finally:
            response.close()

    def _sent(
        self, call: Callable[..., object], message: Any, timeout_s: float, cancelled: threading.Event | None
    ) -> httpx2.Response:
        """Have the SDK send a message, without its retries, and return what came."""
        try:
            call(message, timeout=timeout_s, retry=None)
            return self._wire.taken()
        except FAULTS as error:
            raise _failure(error, cancelled, begun=False) from None


def _message(request: Request) -> Any:
    return protos.GenerateContentRequest.from_json(json.dumps(legacy_body(request)), ignore_unknown_fields=True)


class _Wire(BaseAdapter):
    """Carry the SDK's requests over a client under watch; the answer waits here, the SDK gets an empty one."""

    def __init__(self, http: httpx2.Client) -> None:
        super().__init__()
        self._http = http
        self._came = threading.local()

    def send(  # noqa: PLR0917  the signature is that of requests
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002  as above
        timeout: Any = None,
        verify: Any = None,  # noqa: ARG002  as above
        cert: Any = None,  # noqa: ARG002  as above
        proxies: Any = None,  # noqa: ARG002  as above
    ) -> requests.Response:
        """Send, and leave the answer unread. Raises ProviderError for an error status."""
        call = self._http.build_request(
            request.method or "POST",
            request.url or "",
            headers={name: str(value) for name, value in request.headers.items()},
            content=_bytes(request.body),
            timeout=httpx2.Timeout(timeout, connect=min(timeout, _CONNECT_S)),
        )
        answer = self._http.send(call, stream=True)
        if not answer.is_success:
            raise _refused(answer)
        self._came.answer = answer
        found = requests.Response()
        found.status_code = answer.status_code
        found.encoding = "utf-8"
        found.raw = BytesIO(b"[]" if stream else b"{}")
        return found

    def close(self) -> None:
        """Leave the client to its owner."""

    def taken(self) -> httpx2.Response:
        """Hand over the answer of this thread's call."""
        answer: httpx2.Response = self._came.answer
        del self._came.answer
        return answer


def _bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else str(body or "").encode()


def _refused(answer: httpx2.Response) -> ProviderError:
    try:
        data = answer.read()
    finally:
        answer.close()
    try:
        said = json.loads(data)
    except ValueError:
        said = answer.text
    return answered(said, answer.status_code, answer.headers, begun=False)


def _events(response: httpx2.Response) -> Iterator[Mapping[str, Json]]:
    if not _is_json(response):
        raise no_answer(response.headers.get("content-type", ""))
    for item in array_items(response.iter_bytes()):
        if isinstance(item, dict) and "error" in item:
            raise answered(item, IN_STREAM, {}, begun=False)
        yield item


def _is_json(response: httpx2.Response) -> bool:
    return "json" in response.headers.get("content-type", "")


def _failure(error: Exception, cancelled: threading.Event | None, *, begun: bool) -> ElexirionError:
    return Cancelled() if cancelled is not None and cancelled.is_set() else broken(error, begun=begun)
