"""Anthropic's models through the official SDK: one attempt, no retries of its own, nothing taken on trust."""

import threading
import time
from collections.abc import Callable
from typing import Any, Self

import anthropic
import httpcore2
import httpx2
import re2  # type: ignore[import-untyped]
from pydantic import SecretStr

from elexirion_dagster.errors import Cancelled, ElexirionError, InputError
from elexirion_dagster.providers.anthropic_body import message_body
from elexirion_dagster.providers.anthropic_errors import FAULTS, translated
from elexirion_dagster.providers.anthropic_reply import no_message, read_message, read_usage
from elexirion_dagster.providers.anthropic_stream import Assembly
from elexirion_dagster.providers.base import Capabilities, Provider, ProviderError
from elexirion_dagster.providers.sockets import Watch, watch_sockets
from elexirion_dagster.records import (
    Json,
    Reply,
    Request,
)
from elexirion_dagster.settings import Settings

_BASE_URL = "https://api.anthropic.com"
_PATH = "/v1/messages"
_CONNECT_S = 10.0
_CONNECTIONS = 1024
"""As many as a run may have threads."""
_COUNTED = frozenset({"model", "messages", "system", "tools", "output_config"})
"""What the counting endpoint takes of a body."""
_MAX_PLAIN_TOKENS = 21_333
"""Above this the SDK refuses a plain call: it expects 128,000 tokens an hour and allows ten minutes."""
_VERSION = re2.compile(r"^claude-[a-z]+-(\d{1,2})(?:-(\d{1,2}))?(?:-\d{8}|-latest)?$")
_SCHEMA_SINCE = (4, 5)

_Answer = tuple[Json, str | None]
"""A message's body and the request id of its headers."""


class AnthropicProvider(Provider):
    """One client for all threads. The key is in no repr, message or log of ours."""

    name = "anthropic"

    def __init__(self, key: SecretStr, base_url: str | None = None) -> None:
        self._key = key
        self._watch = Watch()
        limits = httpx2.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS)
        http = anthropic.DefaultHttpxClient(limits=limits)
        watch_sockets(http, self._watch, httpcore2.ReadTimeout)
        self._client = anthropic.Anthropic(
            api_key=key.get_secret_value(), base_url=base_url or _BASE_URL, max_retries=0, http_client=http
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Open with the configured key. Raises InputError without one."""
        if settings.anthropic_api_key is None:
            raise InputError("expected a key for anthropic, came none", mend="Set ANTHROPIC_API_KEY.")
        return cls(settings.anthropic_api_key, settings.anthropic_base_url)

    def capabilities(self, model: str) -> Capabilities:
        """Say what this model takes; structured output since Claude 4.5, unknown names without."""
        found = _VERSION.search(model)
        version = (int(found[1]), int(found[2] or 0)) if found else (0, 0)
        return Capabilities(output_schema=version >= _SCHEMA_SINCE, tools=True, streaming=True)

    def send(
        self,
        request: Request,
        *,
        timeout_s: float,
        cancelled: threading.Event | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        """Make one attempt; streams when asked to, and above the SDK's limit for plain calls."""
        if cancelled is not None and cancelled.is_set():
            raise Cancelled
        started = time.perf_counter()
        body = message_body(request, native_schema=self.capabilities(request.model).output_schema)
        timeout = httpx2.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S))
        streams = request.stream or request.max_tokens > _MAX_PLAIN_TOKENS
        send = self._streamed if streams else self._plain
        try:
            with self._watch.over(timeout_s, cancelled, streams=streams):
                message, request_id = send(body, timeout, cancelled, on_text)
            reply = read_message(message, request, request_id, time.perf_counter() - started)
        except ProviderError as error:
            raise error.without(self._key.get_secret_value()) from None
        if not streams and on_text is not None and reply.text:
            on_text(reply.text)
        return reply

    def count_tokens(
        self, request: Request, *, timeout_s: float, cancelled: threading.Event | None = None
    ) -> int | None:
        """Ask the API's own counting endpoint, which is free and has a rate limit of its own."""
        body = message_body(request, native_schema=self.capabilities(request.model).output_schema)
        counted = {name: value for name, value in body.items() if name in _COUNTED}
        timeout = httpx2.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S))
        try:
            with self._watch.over(timeout_s, cancelled):
                found, request_id = self._posted(f"{_PATH}/count_tokens", counted, timeout, cancelled)
        except ProviderError as error:
            raise error.without(self._key.get_secret_value()) from None
        match found:
            case {"input_tokens": int(tokens)}:
                return tokens
            case _:
                raise no_message(found, request_id)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _plain(
        self,
        body: dict[str, Json],
        timeout: httpx2.Timeout,
        cancelled: threading.Event | None,
        _on_text: Callable[[str], None] | None,
    ) -> _Answer:
        return self._posted(_PATH, body, timeout, cancelled)

    def _posted(
        self, path: str, body: dict[str, Json], timeout: httpx2.Timeout, cancelled: threading.Event | None
    ) -> _Answer:
        try:
            response = self._client.post(path, cast_to=httpx2.Response, body=body, options={"timeout": timeout})
            readable = "json" in response.headers.get("content-type", "")
            return response.json() if readable else response.text, response.headers.get("request-id")
        except FAULTS as error:
            raise self._failure(error, cancelled, None) from None

    def _streamed(
        self,
        body: dict[str, Json],
        timeout: httpx2.Timeout,
        cancelled: threading.Event | None,
        on_text: Callable[[str], None] | None,
    ) -> _Answer:
        """Read the stream to its end, past message_stop too, so that its connection can serve again."""
        assembly, told = Assembly(), False
        with self._open(body, timeout, cancelled) as stream:
            while True:
                try:
                    event = next(stream, None)
                    text = assembly.take(event) if event is not None else ""
                except FAULTS as error:
                    if assembly.done:
                        break
                    raise self._failure(error, cancelled, assembly, partial=told) from None
                if event is None:
                    break
                if text and on_text is not None:
                    told = True
                    on_text(text)
        if not assembly.done:
            raise self._failure(EOFError("the stream ended without message_stop"), cancelled, assembly, partial=told)
        try:
            return assembly.body(), stream.response.headers.get("request-id")
        except FAULTS as error:
            raise self._failure(error, cancelled, assembly, partial=told) from None

    def _open(
        self, body: dict[str, Json], timeout: httpx2.Timeout, cancelled: threading.Event | None
    ) -> anthropic.Stream[Any]:
        try:
            stream = self._client.post(
                _PATH,
                cast_to=object,
                body={**body, "stream": True},
                options={"timeout": timeout},
                stream=True,
                stream_cls=anthropic.Stream[Any],
            )
        except FAULTS as error:
            raise self._failure(error, cancelled, None) from None
        came = stream.response.headers.get("content-type", "")
        if "text/event-stream" not in came:
            stream.close()
            raise no_message(came, stream.response.headers.get("request-id"))
        return stream

    def _failure(
        self,
        error: Exception,
        cancelled: threading.Event | None,
        assembly: Assembly | None,
        *,
        partial: bool = False,
    ) -> ElexirionError:
        if cancelled is not None and cancelled.is_set():
            return Cancelled()
        begun = assembly is not None and assembly.begun
        failure = translated(error, begun=begun)
        failure.partial = partial
        usage = assembly.final_usage() if assembly is not None else None
        failure.usage = read_usage(usage) if usage is not None else None
        return failure
