"""From a request to what is played: the answer that matches and the fault that is due."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from elexirion_dagster.providers.sample import smallest_instance
from elexirion_dagster.records import Json
from elexirion_dagster.rehearsal.script import (
    Answer,
    Fault,
    Rate,
    Refusal,
    Script,
    Status,
    Tokens,
    ToolUse,
    Truncation,
)

_CHARS_PER_TOKEN = 4
_ECHO_CHARS = 200
_PIECE_CHARS = 40
_MAX_PIECES = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for, whatever its wire format."""

    stream: bool
    schema: Mapping[str, Json] | None
    max_tokens: int | None
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """One answer, ready to be put on the wire; `number` counts model calls from 1."""

    number: int
    model: str
    text: str
    tools: tuple[ToolUse, ...]
    blocks: tuple[dict[str, Json], ...]
    stop_reason: str
    usage: Tokens
    latency_s: float
    category: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """An error to be put on the wire; `kind` is in Anthropic's words and None where the status says it all."""

    status: int
    message: str = "scripted by the rehearsal"
    kind: str | None = None
    code: str | None = None
    retry_s: float | None = None


class Play:
    """A script under way: counts calls and remembers how often each answer and fault was used."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.count = 0
        self.refused = 0
        self._bucket = _Bucket(script.rate) if script.rate else None
        self._used: dict[int, int] = {}
        self._lock = threading.Lock()

    def next(self, asked: Asked) -> tuple[Line, Fault | None]:
        """Choose for the next model call."""
        whole = "\n".join(asked.texts)
        with self._lock:
            self.count += 1
            number = self.count
            wait_s = self._bucket.take() if self._bucket else 0.0
            if wait_s:
                self.refused += 1
                return self._line(Answer(), asked, number), _too_fast(wait_s)
            answer = next((answer for answer in self.script.answers if self._takes(answer, whole)), Answer())
            fault = next((fault for fault in self.script.faults if self._due(fault, whole, number)), None)
        return _with_fault(self._line(answer, asked, number), fault), fault

    def _takes(self, answer: Answer, whole: str) -> bool:
        return (answer.match is None or answer.match in whole) and self._left(answer)

    def _due(self, fault: Fault, whole: str, number: int) -> bool:
        return (
            (fault.nth is None or fault.nth == number)
            and (fault.every is None or number % fault.every == 0)
            and (fault.match is None or fault.match in whole)
            and self._left(fault)
        )

    def _left(self, part: Answer | Fault) -> bool:
        used = self._used.get(id(part), 0)
        if part.times is not None and used >= part.times:
            return False
        self._used[id(part)] = used + 1
        return True

    def _line(self, answer: Answer, asked: Asked, number: int) -> Line:
        text = _sized(_text(answer, asked), answer.size_kb)
        stop_reason = answer.stop_reason or ("tool_use" if answer.tools else "end_turn")
        ceiling = asked.max_tokens and asked.max_tokens * _CHARS_PER_TOKEN
        if ceiling and answer.size_kb is None and len(text) > ceiling:
            text, stop_reason = text[:ceiling], "max_tokens"
        latency_ms = self.script.latency_ms if answer.latency_ms is None else answer.latency_ms
        return Line(
            number=number,
            model=self.script.model,
            text=text,
            tools=answer.tools,
            blocks=answer.blocks,
            stop_reason=stop_reason,
            usage=answer.usage or Tokens(input_tokens=tokens(asked.texts), output_tokens=tokens((text,))),
            latency_s=latency_ms / 1000,
        )


class _Bucket:
    """Room for calls, which flows in at the script's rate."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._room = float(rate.burst)
        self._at = time.monotonic()

    def take(self) -> float:
        """Take room for one call and return 0, or the seconds until there is some."""
        now = time.monotonic()
        self._room = min(self._rate.burst, self._room + (now - self._at) * self._rate.requests_per_s)
        self._at = now
        if self._room >= 1:
            self._room -= 1
            return 0.0
        return (1 - self._room) / self._rate.requests_per_s


def _too_fast(wait_s: float) -> Status:
    message = "more calls than the script's rate"
    return Status(kind="status", status=429, message=message, retry_after_ms=wait_s * 1000)


def strings(value: Json) -> Iterator[str]:
    """Yield every text inside a part of a request, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name not in ("type", "role"):
                yield from strings(item)


def pieces(text: str) -> list[str]:
    """Cut a text as streams do; large ones into larger pieces."""
    size = max(_PIECE_CHARS, len(text) // _MAX_PIECES)
    return [text[start : start + size] for start in range(0, len(text), size)]


def tokens(texts: tuple[str, ...]) -> int:
    """Estimate the tokens of some texts: four characters each, at least one."""
    return max(1, sum(map(len, texts)) // _CHARS_PER_TOKEN)


def _text(answer: Answer, asked: Asked) -> str:
    if answer.text is not None:
        return answer.text
    if answer.data is not None:
        return json.dumps(answer.data)
    if answer.tools:
        return ""
    if asked.schema is not None:
        return json.dumps(smallest_instance(asked.schema))
    last = asked.texts[-1] if asked.texts else ""
    return f"[rehearsal script, no real answer] {last[:_ECHO_CHARS]}"


def _sized(text: str, size_kb: int | None) -> str:
    if size_kb is None:
        return text
    size = size_kb * 1000
    return (text * (size // max(1, len(text)) + 1))[:size]


def _with_fault(line: Line, fault: Fault | None) -> Line:
    changes: dict[str, Any] = {}
    match fault:
        case Refusal(category=category):
            changes = {"text": "", "tools": (), "blocks": (), "stop_reason": "refusal", "category": category}
        case Truncation():
            changes = {"text": line.text[: len(line.text) // 2], "tools": (), "stop_reason": "max_tokens"}
        case _:
            return line
    return replace(line, **changes)
