"""The chunks of a streamed answer put together into the same body that a plain answer has."""

import codecs
import json
from collections.abc import Callable, Iterable, Iterator, Mapping

from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.records import Json

_SPACE = " \t\r\n"


class Assembly:
    """One streamed answer under way; `begun` once a chunk came, `done` once one carried the end."""

    def __init__(self) -> None:
        self.begun = False
        self.done = False
        self._head: dict[str, Json] = {}
        self._candidate: dict[str, Json] = {}
        self._usage: dict[str, Json] = {}
        self._parts: list[Json] = []

    def take(self, chunk: Mapping[str, Json]) -> str:
        """Add one chunk and return the text it brings; usage counts from the beginning in each of them."""
        self.begun = True
        self._head |= {name: value for name, value in chunk.items() if name not in ("candidates", "usageMetadata")}
        self._usage |= chunk.get("usageMetadata") or {}
        candidate: Mapping[str, Json] = next(iter(chunk.get("candidates") or ()), {})
        parts = (candidate.get("content") or {}).get("parts") or []
        self._candidate |= candidate
        self._parts += parts
        blocked = (chunk.get("promptFeedback") or {}).get("blockReason")
        self.done = self.done or bool(candidate.get("finishReason") or blocked)
        return "".join(part["text"] for part in parts if part.get("text") and part.get("thought") is not True)

    def body(self) -> dict[str, Json]:
        """Return the answer as a plain one carries it."""
        candidate = {**self._candidate, "content": {"parts": list(_joined(self._parts))}}
        return {**self._head, "candidates": [candidate], "usageMetadata": self._usage}


def assemble(
    chunks: Iterator[Mapping[str, Json]],
    on_text: Callable[[str], None] | None,
    *,
    faults: tuple[type[Exception], ...],
    failure: Callable[[Exception, bool], ElexirionError],
) -> Json:
    """Read a stream to its end, past the finish reason too, so that its connection can serve again.

    A stream without a finish reason is no answer. `failure` words one of `faults`, told whether an answer had begun;
    a ProviderError among them is in words already.
    """
    assembly, told = Assembly(), False
    while True:
        try:
            chunk = next(chunks, None)
            text = assembly.take(chunk) if chunk is not None else ""
        except faults as error:
            if assembly.done:
                return assembly.body()
            failed = error if isinstance(error, ProviderError) else failure(error, assembly.begun)
            raise _during(failed, assembly, told=told) from None
        if chunk is None:
            break
        if text and on_text is not None:
            told = True
            on_text(text)
    if not assembly.done:
        failed = failure(EOFError("the stream ended without a finish reason"), assembly.begun)
        raise _during(failed, assembly, told=told)
    return assembly.body()


def _during(failed: ElexirionError, assembly: Assembly, *, told: bool) -> ElexirionError:
    """Add what was known when it failed; an answer that had begun is billed."""
    if isinstance(failed, ProviderError):
        failed.partial = told
        failed.billed = failed.billed or assembly.begun
    return failed


def array_items(pieces: Iterable[bytes]) -> Iterator[Json]:
    """Yield the items of a JSON array of objects as they come whole. Raises ValueError, or EOFError if it is cut."""
    decode, json_at = codecs.getincrementaldecoder("utf-8")().decode, json.JSONDecoder().raw_decode
    text, opened = "", False
    for piece in pieces:
        text += decode(piece)
        if not opened and (text := text.lstrip(_SPACE)):
            if text[0] != "[":
                raise ValueError(f"expected a JSON array, came {text:.100}")
            text, opened = text[1:], True
        while opened and b"}" in piece and (text := text.lstrip(_SPACE + ",")) and text[0] != "]":
            try:
                item, end = json_at(text)
            except ValueError:
                break
            yield item
            text = text[end:]
    if text.strip(_SPACE) != "]":
        raise EOFError("the JSON array did not end")


def _joined(parts: list[Json]) -> Iterator[Json]:
    """Put the pieces of streamed text back together; a signed part stays apart, as the API asks of clients."""
    run: list[Json] = []
    for part in parts:
        if run and not (_is_piece(part) and _is_piece(run[-1]) and part.get("thought") == run[-1].get("thought")):
            yield _merged(run)
            run = []
        run.append(part)
    if run:
        yield _merged(run)


def _merged(run: list[Json]) -> Json:
    return run[0] if len(run) == 1 else {**run[0], "text": "".join(part["text"] for part in run)}


def _is_piece(part: Json) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str) and part.keys() <= {"text", "thought"}
