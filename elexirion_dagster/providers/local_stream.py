"""The chunks of a streamed chat completion put together into the same body that a plain answer has."""

from collections.abc import Iterable, Iterator, Mapping

from elexirion_dagster.records import Json

DONE = b"[DONE]"


def sse_data(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the data of each event.

    Lines end at a line feed only: httpx's own line reader also ends them at characters that JSON text may hold.
    """
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line[5:].strip() for line in lines if line.startswith(b"data:"))


class Completion:
    """One streamed completion under way."""

    def __init__(self) -> None:
        self._head: dict[str, Json] = {}
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._calls: dict[int, dict[str, Json]] = {}
        self._finish: str | None = None

    def take(self, chunk: Mapping[str, Json]) -> str:
        """Add one chunk and return the text it brings."""
        self._head |= {name: chunk[name] for name in ("id", "model", "usage") if chunk.get(name)}
        text = ""
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            text += delta.get("content") or ""
            self._refusals.append(delta.get("refusal") or "")
            for call in delta.get("tool_calls") or ():
                self._add(call)
            self._finish = choice.get("finish_reason") or self._finish
        self._texts.append(text)
        return text

    def body(self) -> dict[str, Json]:
        """Return the completion as a plain answer carries it."""
        message = {
            "content": "".join(self._texts),
            "refusal": "".join(self._refusals),
            "tool_calls": [self._call(index) for index in sorted(self._calls)],
        }
        return {**self._head, "choices": [{"message": message, "finish_reason": self._finish}]}

    def _add(self, call: Mapping[str, Json]) -> None:
        known = self._calls.setdefault(call.get("index") or 0, {"id": None, "name": None, "arguments": []})
        function = call.get("function") or {}
        known["id"] = call.get("id") or known["id"]
        known["name"] = function.get("name") or known["name"]
        known["arguments"].append(function.get("arguments") or "")

    def _call(self, index: int) -> Json:
        call = self._calls[index]
        return {"id": call["id"], "function": {"name": call["name"], "arguments": "".join(call["arguments"])}}
