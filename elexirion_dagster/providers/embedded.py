"""A GGUF model inside this process: no server, no network, no cost; what comes back obeys the schema by grammar."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Self

from elexirion_dagster.providers.base import Capabilities, Provider, ProviderError
from elexirion_dagster.providers.embedded_engine import Engine
from elexirion_dagster.providers.embedded_models import model_file, models_folder
from elexirion_dagster.providers.embedded_turns import Limit
from elexirion_dagster.providers.local_body import completion_body, read_completion
from elexirion_dagster.records import Reply, Request
from elexirion_dagster.settings import Settings

_CAPABILITIES = Capabilities(output_schema=True, tools=False, streaming=True)


class EmbeddedProvider(Provider):
    """One instance per model file for all threads; its calls are answered one at a time, first come, first served.

    Without a temperature the most likely answer is given: the same one every time.
    """

    name = "embedded"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._engines: dict[Path, Engine] = {}
        self._lock = threading.Lock()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Open with the models pulled into this home."""
        return cls(models_folder(settings.home))

    def capabilities(self, model: str) -> Capabilities:  # noqa: ARG002  small models' templates drop tools silently
        """Say that schemas are enforced and tools are not taken, whatever the model."""
        return _CAPABILITIES

    def send(
        self,
        request: Request,
        *,
        timeout_s: float,
        cancelled: threading.Event | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        """Make one attempt; the time of waiting for other calls and of loading the model counts."""
        started = time.perf_counter()
        limit = Limit(timeout_s, cancelled)
        limit.check("beginning")
        if request.tools:
            raise ProviderError(
                "expected a request without tools, which embedded models do not take",
                cause="bad_input",
                mend="Take a model of anthropic or local for steps with tools.",
            )
        body = {"temperature": 0.0, **completion_body(request)}
        completion = self._engine(request.model).complete(body, limit, on_text if request.stream else None)
        reply = _reply(completion, request, time.perf_counter() - started)
        if not request.stream and on_text is not None and reply.text:
            on_text(reply.text)
        return reply

    def close(self) -> None:
        """Let go of the models; one that is answering stays until it has answered."""
        with self._lock:
            self._engines.clear()

    def _engine(self, model: str) -> Engine:
        file = model_file(model, self._folder)
        with self._lock:
            return self._engines.setdefault(file, Engine(file))


def _reply(completion: object, request: Request, latency_s: float) -> Reply:
    """Read the completion; one cut before `max_tokens` came to the end of the model's window."""
    reply = read_completion(completion, request, latency_s)
    full = reply.stop_reason == "max_tokens" and reply.usage.output_tokens < request.max_tokens
    return replace(
        reply,
        provider="embedded",
        model=request.model,
        request_id=None,
        stop_reason="context_exceeded" if full else reply.stop_reason,
    )
