"""What the providers over both of Google's SDKs do alike: one call under watch, its answer read, its input counted."""

import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from typing import Self

from pydantic import SecretStr

from elexirion_dagster.errors import Cancelled, InputError
from elexirion_dagster.providers.base import Capabilities, Provider, ProviderError
from elexirion_dagster.providers.gemini_body import takes_schema
from elexirion_dagster.providers.gemini_reply import no_answer, read_answer
from elexirion_dagster.providers.sockets import Watch
from elexirion_dagster.records import Json, Reply, Request
from elexirion_dagster.settings import Settings


class GeminiCalls(Provider):
    """One client for all threads. The key is in no repr, message or log of ours."""

    def __init__(self, key: SecretStr, base_url: str | None = None) -> None:  # noqa: ARG002  the clients' own
        self._key = key
        self._watch = Watch()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Open with the configured key. Raises InputError without one."""
        if settings.gemini_api_key is None:
            raise InputError(f"expected a key for {cls.name}, came none", mend="Set GEMINI_API_KEY.")
        return cls(settings.gemini_api_key, settings.gemini_base_url)

    def capabilities(self, model: str) -> Capabilities:
        """Say what this model takes; structured output since Gemini 2.5, unknown names without."""
        return Capabilities(output_schema=takes_schema(model), tools=True, streaming=True)

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
        try:
            with self._watch.over(timeout_s, cancelled, streams=request.stream):
                if request.stream:
                    body = self._streamed(request, timeout_s, cancelled, on_text)
                else:
                    body = self._plain(request, timeout_s, cancelled)
            reply = read_answer(body, request, self.name, time.perf_counter() - started)
        except ProviderError as error:
            raise error.without(self._key.get_secret_value()) from None
        if not request.stream and on_text is not None and reply.text:
            on_text(reply.text)
        return reply

    def count_tokens(
        self, request: Request, *, timeout_s: float, cancelled: threading.Event | None = None
    ) -> int | None:
        """Ask the API's own counting method, which is free."""
        try:
            with self._watch.over(timeout_s, cancelled):
                body = self._counted(request, timeout_s, cancelled)
        except ProviderError as error:
            raise error.without(self._key.get_secret_value()) from None
        match body:
            case {"totalTokens": int(tokens)}:
                return tokens
            case _:
                raise no_answer(body)

    @abstractmethod
    def _plain(self, request: Request, timeout_s: float, cancelled: threading.Event | None) -> Json:
        """Return the body of a plain answer."""

    @abstractmethod
    def _streamed(
        self,
        request: Request,
        timeout_s: float,
        cancelled: threading.Event | None,
        on_text: Callable[[str], None] | None,
    ) -> Json:
        """Return a streamed answer as the body of a plain one."""

    @abstractmethod
    def _counted(self, request: Request, timeout_s: float, cancelled: threading.Event | None) -> Json:
        """Return the body of a count."""
