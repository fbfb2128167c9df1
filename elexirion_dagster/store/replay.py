"""What the journal already knows about one root run, so that nothing is paid or done twice."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Self

from elexirion_dagster.records import (
    Block,
    Json,
    Reply,
    StepResult,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    Usage,
)
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.journal import Line, files_of, read_lines

_BLOCKS: Mapping[str, type[Block]] = {
    "text": TextBlock,
    "thinking": ThinkingBlock,
    "tool_use": ToolUseBlock,
    "tool_result": ToolResultBlock,
}
_AFTERWARDS = {"run_finished", "recovery", "adoption", "feedback"}
"""Lines that others write about a run, when it is over."""
_FINISHED = {"succeeded", "degraded", "skipped"}


class OpenIntent(NamedTuple):
    """A call that was announced and of which no end was written: possibly paid, at most `max_usd`."""

    call_id: str
    path: str
    request_hash: str
    occurrence: int
    attempt: int
    provider: str
    model: str
    max_usd: float | None
    max_tokens: int | None


class _Place(NamedTuple):
    """Where a line lies; replies stay on the disk until they are asked for."""

    file: Path
    start: int
    length: int

    def read(self) -> dict[str, Json]:
        with self.file.open("rb") as stream:
            stream.seek(self.start)
            fields: dict[str, Json] = json.loads(stream.read(self.length))
        return fields


class ToolKey(NamedTuple):
    """One use of a tool: ids alone may come again, from a server that counts anew in every answer."""

    path: str
    tool_use_id: str
    digest: str
    occurrence: int


def tool_digest(name: str, arguments: Mapping[str, Json]) -> str:
    """What is asked of a tool, as 16 hex digits."""
    text = json.dumps([name, arguments], sort_keys=True, default=dict)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass
class Replay:
    """One root run's pins, replies and finished steps as they stood when it was loaded.

    `skipped` counts corrupt lines. Threads may share it.
    """

    pins: Mapping[str, Json] = field(default_factory=dict)
    open_intents: tuple[OpenIntent, ...] = ()
    skipped: int = 0
    seconds: float = 0.0
    """How long its runs have worked so far, by their first and last lines."""
    _replies: dict[tuple[str, str, int], _Place] = field(default_factory=dict)
    _steps: dict[tuple[str, str], _Place] = field(default_factory=dict)
    _tools: dict[ToolKey, _Place] = field(default_factory=dict)
    _tools_begun: frozenset[ToolKey] = frozenset()
    _sessions: dict[tuple[str, str, int], _Place] = field(default_factory=dict)
    _exchanges: tuple[_Place, ...] = ()

    @property
    def finished(self) -> frozenset[str]:
        """The paths of the steps that finished without failing."""
        return frozenset(path for path, _ in self._steps)

    @classmethod
    def load(cls, home: Home, root_run: str) -> Self:
        """Read all files of the root run once. StorageError on a newer format."""
        reading = _Reading()
        for file in files_of(home, root_run):
            for line in read_lines(file):
                reading.take(file, line)
        pins = {name: value for name, (_, value) in reading.pins.items()}
        opened = tuple(intent for call, intent in reading.intents.items() if call not in reading.ended)
        begun, exchanges = frozenset(reading.begun), tuple(place for _, place in sorted(reading.exchanges))
        found = (reading.replies, reading.steps, reading.tools, begun, reading.sessions, exchanges)
        return cls(pins, opened, reading.skipped, reading.seconds(), *found)

    def reply(self, path: str, request_hash: str, occurrence: int) -> Reply | None:
        """Find the reply that was paid for this call."""
        place = self._replies.get((path, request_hash, occurrence))
        return reply_from_json(place.read()["reply"]) if place else None

    def step(self, path: str, input_hash: str) -> StepResult | None:
        """Find the result of this step if it finished without failing."""
        place = self._steps.get((path, input_hash))
        return StepResult.from_json(place.read()["result"]) if place else None

    def tool(self, key: ToolKey) -> ToolResultBlock | None:
        """Find what a tool answered."""
        if place := self._tools.get(key):
            fields = place.read()
            return ToolResultBlock(key.tool_use_id, fields["text"], fields["is_error"])
        return None

    def tool_begun(self, key: ToolKey) -> bool:
        """Whether a tool that must not be used twice was begun, and may have done what it was asked."""
        return key in self._tools_begun

    def seen(self, path: str, session: str, max_tokens: int) -> list[str] | None:
        """Find the ids of the exchanges that the call at this path saw, with room for so many tokens."""
        place = self._sessions.get((path, session, max_tokens))
        return place.read()["seen"] if place else None

    def exchanges(self) -> list[dict[str, Json]]:
        """Every exchange in the order of time: path, session, turns."""
        return [place.read() for place in self._exchanges]


@dataclass
class _Reading:
    """What has been gathered while the files are read."""

    pins: dict[str, tuple[str, Json]] = field(default_factory=dict)
    intents: dict[str, OpenIntent] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    replies: dict[tuple[str, str, int], _Place] = field(default_factory=dict)
    steps: dict[tuple[str, str], _Place] = field(default_factory=dict)
    tools: dict[ToolKey, _Place] = field(default_factory=dict)
    begun: set[ToolKey] = field(default_factory=set)
    sessions: dict[tuple[str, str, int], _Place] = field(default_factory=dict)
    exchanges: list[tuple[str, _Place]] = field(default_factory=list)
    times: dict[str, tuple[str, str]] = field(default_factory=dict)
    skipped: int = 0

    def seconds(self) -> float:
        """The time from each run's first line to its last, added up."""
        whole = 0.0
        for first, last in self.times.values():
            with suppress(ValueError, TypeError):  # a corrupt line
                whole += (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()
        return whole

    def take(self, file: Path, line: Line) -> None:
        """Note one line; one that lacks what its kind needs counts as corrupt."""
        try:
            self._note(line.fields or {}, _Place(file, line.start, len(line.raw)))
            self._time(line.fields or {})
        except (KeyError, TypeError):
            self.skipped += 1

    def _time(self, fields: dict[str, Json]) -> None:
        if fields["kind"] not in _AFTERWARDS:
            times = (*self.times.get(fields["run"], ()), fields["ts"])
            self.times[fields["run"]] = (min(times), max(times))

    def _note(self, fields: dict[str, Json], place: _Place) -> None:
        match fields["kind"]:
            case "pin":
                pin = (fields["ts"], fields["value"])
                self.pins[fields["name"]] = min(self.pins.get(fields["name"], pin), pin, key=lambda one: one[0])
            case "intent":
                known: dict[str, Json] = {name: fields.get(name) for name in OpenIntent._fields}
                self.intents[fields["call_id"]] = OpenIntent(**known)
            case "reply":
                self.replies.setdefault((fields["path"], fields["request_hash"], fields["occurrence"]), place)
                self.ended.add(fields["call_id"])
            case "call_failed":
                self.ended.add(fields["call_id"])
            case "step" if fields["status"] in _FINISHED:
                self.steps[fields["path"], fields["input_hash"]] = place
            case "tool_intent":
                self.begun.add(_tool_key(fields))
            case "tool":
                self.tools.setdefault(_tool_key(fields), place)
            case "session":
                key = (fields["path"], fields["session"], fields["max_tokens"])
                self.sessions.setdefault(key, place)
            case "exchange":
                self.exchanges.append((fields["ts"], place))


def _tool_key(fields: Mapping[str, Json]) -> ToolKey:
    digest = tool_digest(fields["name"], fields["arguments"])
    return ToolKey(fields["path"], fields["tool_use_id"], digest, fields["occurrence"])


def reply_to_json(reply: Reply) -> dict[str, Json]:
    """Write a reply as a JSON object, blocks verbatim; `reply_from_json` reads it back."""
    blocks = [_fields(block) for block in reply.blocks]
    return {**_fields(reply), "blocks": blocks, "usage": reply.usage.to_json()}


def _fields(value: Reply | Block) -> dict[str, Json]:
    """The fields as they are; `asdict` copies all below and is ten times slower, and this runs for every call."""
    return {name: getattr(value, name) for name in value.__slots__}


def reply_from_json(value: Mapping[str, Json]) -> Reply:
    """Read the reply that `reply_to_json` wrote."""
    blocks = tuple(_BLOCKS[block["type"]](**block) for block in value["blocks"])
    return Reply(**{**value, "blocks": blocks, "usage": Usage(**value["usage"])})
