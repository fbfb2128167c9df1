"""One GGUF file in memory, answered by llama.cpp inside this process."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xllamacpp

from elexirion_dagster.errors import Cause
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.embedded_turns import Limit, Turns
from elexirion_dagster.providers.local_stream import Completion
from elexirion_dagster.providers.status import mend_of
from elexirion_dagster.records import Json, Usage

_MAGIC = b"GGUF"
_CONTEXT_TOKENS = 8192
"""Window of every model, or its own if that is smaller: memory for it is taken in full when the model is loaded."""
_BATCH_TOKENS = 128
"""How much of a prompt is read between two looks at the deadline; as fast as 512 on two cores (measured)."""
_MAX_SOCKET_PATH = 100
_TOO_LONG = "exceed_context_size_error"
_OPTIONS = {
    "stream": True,
    "stream_options": {"include_usage": True},
    "return_progress": True,
    "timings_per_token": True,
    "cache_prompt": False,  # a prefix kept from another call changes rounding, and with it answers
}

_NOTHING = {"prompt": "a", "n_predict": 0, "stream": True}


class Engine:
    """Loads the file at the first call that gets its turn; memory is given back with the last reference to it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._turns = Turns()
        self._server: Any = None

    def complete(self, body: dict[str, Json], limit: Limit, on_text: Callable[[str], None] | None) -> dict[str, Json]:
        """Answer a chat completion's body with the whole completion, handing out text as it comes.

        Raises ProviderError, Cancelled, and whatever `on_text` raises.
        """
        with self._turns.turn(limit):
            if self._server is None:
                self._server = _loaded(self._file)
            limit.check("loading the model")
            listener = _Listener(limit, on_text)
            try:
                self._server.handle_chat_completions({**body, **_OPTIONS}, listener)
            except (ValueError, RuntimeError) as error:
                raise ProviderError(
                    f"expected a request that the model can be asked, llama.cpp says: {error}",
                    cause="bad_input",
                    mend="Look at the output schema and at the turns: the model's own template must take them.",
                ) from error
            return listener.completed()


class _Listener:
    """Takes the chunks of one answer; returning True ends it."""

    def __init__(self, limit: Limit, on_text: Callable[[str], None] | None) -> None:
        self._limit = limit
        self._on_text = on_text
        self._completion = Completion()
        self._failure: BaseException | None = None
        self._usage: Usage | None = None
        self._told = False

    def __call__(self, chunk: Json) -> bool:
        try:
            self._take(chunk)
        except BaseException as error:  # noqa: BLE001  the binding drops what is raised here; `completed` raises it
            self._failure = error
        return self._failure is not None

    def completed(self) -> dict[str, Json]:
        """Return the completion, or raise what ended it."""
        body = self._completion.body()
        if self._failure is None and body["choices"][0]["finish_reason"] is None:
            self._failure = ProviderError("expected an answer with an end, the model stopped without", cause="unknown")
        if isinstance(self._failure, ProviderError):
            self._failure.usage, self._failure.partial = self._usage, self._told
            self._failure.billed = self._usage is not None  # no money, but tokens of the budget
        if self._failure is not None:
            raise self._failure
        return body

    def _take(self, chunk: Json) -> None:
        if "error" in chunk:
            raise _refused(chunk["error"])
        timings = chunk.get("timings") or {}
        if timings.get("prompt_n"):
            self._usage = Usage(timings["prompt_n"], timings["predicted_n"])
        text = self._completion.take(chunk)
        if text and self._on_text is not None:
            self._told = True
            self._on_text(text)
        self._limit.check("generating")


def _refused(error: Json) -> ProviderError:
    """Translate what llama.cpp says before it generates anything."""
    if error.get("type") == _TOO_LONG:
        message = f"expected a prompt of less than {error['n_ctx']} tokens, came {error['n_prompt_tokens']}"
        return ProviderError(message, cause="context_exceeded", mend=mend_of("context_exceeded"))
    cause: Cause = "bad_input" if error.get("type") == "invalid_request_error" else "unknown"
    return ProviderError(f"llama.cpp answered an error: {error.get('message', error)}", cause=cause)


def _loaded(file: Path) -> Any:
    """Load the model (0.3 s for 98 MB, measured; the interpreter stands still meanwhile)."""
    _check_magic(file)
    # The binding cannot do without a listener, and hangs where it cannot open one. It gets a fresh Unix socket in a
    # private folder, gone before anybody could connect: no port is open.
    with tempfile.TemporaryDirectory(prefix="elexirion-") as folder:
        socket = f"{folder}/gone.sock"
        if len(os.fsencode(socket)) > _MAX_SOCKET_PATH:
            raise ProviderError(
                f"expected a temporary folder with a short path, came {folder}",
                cause="storage",
                mend="Set TMPDIR to a folder such as /tmp.",
            )
        try:
            server = xllamacpp.Server(_parameters(file, socket))
            # A server that is let go before its loop has begun waits for it forever (measured: one of two did). What
            # it answers proves that the loop runs; this takes 3 ms.
            server.handle_completions(_NOTHING, lambda _chunk: False)
        except RuntimeError as error:
            raise _unusable(file, "llama.cpp cannot load it") from error
        return server


def _check_magic(file: Path) -> None:
    try:
        with file.open("rb") as stream:
            begin = stream.read(len(_MAGIC))
    except OSError as error:
        raise _unusable(file, f"it cannot be read: {error.strerror}") from error
    if begin != _MAGIC:
        raise _unusable(file, "it is none")


def _unusable(file: Path, why: str) -> ProviderError:
    return ProviderError(
        f"expected a GGUF model that fits into memory at {file}, {why}",
        cause="model_not_found",
        mend="Get the file anew, or take a smaller model.",
    )


def _threads() -> int:
    """Half the cores.

    The threads wait for one another busily: with one for every core they starve as soon as anything else runs
    (measured on two loaded cores: 2 to 52 tokens/s with two threads, 28 to 45 with one).
    """
    return max(1, (os.cpu_count() or 1) // 2)


def _parameters(file: Path, socket: str) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(file)
    parameters.hostnames = [socket]
    parameters.ui = False
    parameters.verbosity = -1
    parameters.n_ctx = _CONTEXT_TOKENS
    parameters.n_batch = parameters.n_ubatch = _BATCH_TOKENS
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = _threads()
    parameters.n_parallel = 1
    parameters.cache_prompt = False
    parameters.cache_ram_mib = 0
    parameters.n_ctx_checkpoints = 0
    parameters.fit_params = False  # with the next line 0.3 s to load instead of 0.8 s (measured)
    parameters.warmup = False
    return parameters
