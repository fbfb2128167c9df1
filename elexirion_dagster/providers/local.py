"""Models on an OpenAI-compatible server (Ollama, vLLM, llama.cpp, LM Studio): plain HTTP, no SDK, no cost."""

import json
import ssl
import threading
import time
from collections.abc import Callable
from typing import Self

import httpcore
import httpx
from pydantic import SecretStr

from elexirion_dagster.errors import Cancelled, ElexirionError, InputError
from elexirion_dagster.providers.base import Capabilities, Provider, ProviderError
from elexirion_dagster.providers.local_body import completion_body, no_completion, read_completion
from elexirion_dagster.providers.local_errors import FAULTS, answered, broken, status_error
from elexirion_dagster.providers.local_stream import DONE, Completion, sse_data
from elexirion_dagster.providers.sockets import Watch, watch_sockets
from elexirion_dagster.records import Json, Reply, Request
from elexirion_dagster.settings import Settings

_CONNECT_S = 10.0
_LIST_S = 10.0
_CONNECTIONS = 1024
"""As many as a run may have threads."""
_EVENTS = "text/event-stream"
_CAPABILITIES = Capabilities(output_schema=True, tools=True, streaming=True)


class LocalProvider(Provider):
    """One client for all threads. The key, if the server wants one, is in no repr, message or log of ours."""

    name = "local"

    def __init__(self, base_url: str, key: SecretStr | None = None) -> None:
        self._key = key if key is not None else SecretStr("")
        self._watch = Watch()
        self._client = httpx.Client(
            base_url=base_url,
            headers={"authorization": f"Bearer {key.get_secret_value()}"} if key is not None else {},
            limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
            trust_env=False,  # a proxy of the environment does not reach this machine's own servers
            verify=ssl.create_default_context(),
        )
        watch_sockets(self._client, self._watch, httpcore.ReadTimeout)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Open at the configured URL. Raises InputError without one."""
        if settings.local_base_url is None:
            raise InputError("expected a base URL for local, came none", mend="Set ELEXIRION_LOCAL_URL.")
        return cls(settings.local_base_url, settings.local_api_key)

    def capabilities(self, model: str) -> Capabilities:  # noqa: ARG002  the server does not tell, it translates
        """Say that everything is taken natively, which the common servers do for every model."""
        return _CAPABILITIES

    def send(
        self,
        request: Request,
        *,
        timeout_s: float,
        cancelled: threading.Event | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        """Make one attempt; streams only when asked to."""
        if cancelled is not None and cancelled.is_set():
            raise Cancelled
        started = time.perf_counter()
        body = completion_body(request)
        if request.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S))
        call = self._client.build_request("POST", "chat/completions", json=body, timeout=timeout)
        try:
            with self._watch.over(timeout_s, cancelled, streams=request.stream):
                found = self._streamed(call, cancelled, on_text) if request.stream else self._plain(call, cancelled)
            reply = read_completion(found, request, time.perf_counter() - started)
        except ProviderError as error:
            raise error.without(self._key.get_secret_value()) from None
        if not request.stream and on_text is not None and reply.text:
            on_text(reply.text)
        return reply

    def first_model(self) -> str:
        """Ask the server which models it has and take the first. Raises ProviderError."""
        call = self._client.build_request("GET", "models", timeout=_LIST_S)
        try:
            with self._watch.over(_LIST_S, None):
                listed = self._plain(call, None)
        except ProviderError as error:
            raise error.without(self._key.get_secret_value()) from None
        match listed:
            case {"data": [{"id": str(name)}, *_]}:
                return name
            case _:
                raise ProviderError(
                    f"expected at least one model at {self._client.base_url}, came {listed!r:.200}",
                    cause="model_not_found",
                    mend="Load a model into the local server, or set ELEXIRION_LOCAL_MODEL.",
                )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _plain(self, call: httpx.Request, cancelled: threading.Event | None) -> Json:
        try:
            response = self._client.send(call)
            if response.is_success:
                return response.json() if "json" in response.headers.get("content-type", "json") else response.text
        except FAULTS as error:
            raise self._failure(error, cancelled) from None
        raise status_error(response)

    def _streamed(
        self, call: httpx.Request, cancelled: threading.Event | None, on_text: Callable[[str], None] | None
    ) -> Json:
        """Read up to [DONE]: a stream without it is no answer."""
        completion, told = Completion(), False
        response = self._opened(call, cancelled)
        try:
            events = sse_data(response.iter_bytes())
            while True:
                try:
                    data = next(events, None)
                    text = self._taken(completion, data)
                except FAULTS as error:
                    raise self._failure(error, cancelled, partial=told) from None
                except ProviderError as error:
                    error.partial = told
                    raise
                if data == DONE:
                    return completion.body()
                if text and on_text is not None:
                    told = True
                    on_text(text)
        finally:
            response.close()

    def _opened(self, call: httpx.Request, cancelled: threading.Event | None) -> httpx.Response:
        try:
            response = self._client.send(call, stream=True)
            came = response.headers.get("content-type", _EVENTS)
            if response.is_success and _EVENTS in came:
                return response
            response.read()
        except FAULTS as error:
            raise self._failure(error, cancelled) from None
        raise no_completion(came) if response.is_success else status_error(response)

    def _taken(self, completion: Completion, data: bytes | None) -> str:
        if data is None:
            raise EOFError("the stream ended without [DONE]")
        if data == DONE or not data:
            return ""
        chunk = json.loads(data)
        if chunk.get("error"):
            raise answered(chunk, None)
        return completion.take(chunk)

    def _failure(self, error: Exception, cancelled: threading.Event | None, *, partial: bool = False) -> ElexirionError:
        if cancelled is not None and cancelled.is_set():
            return Cancelled()
        failure = broken(error)
        failure.partial = partial
        return failure
