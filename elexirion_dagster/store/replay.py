"""What the journal already knows about one root run, so that nothing is paid or done twice."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
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


@dataclass
class Replay:
    """One root run's pins, replies and finished steps as they stood when it was loaded.

    `skipped` counts corrupt lines. Threads may share it.
    """

    pins: Mapping[str, Json] = field(default_factory=dict)
    open_intents: tuple[OpenIntent, ...] = ()
    skipped: int = 0
    _replies: dict[tuple[str, str, int], _Place] = field(default_factory=dict)
    _steps: dict[tuple[str, str], _Place] = field(default_factory=dict)

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
        return cls(pins, opened, reading.skipped, reading.replies, reading.steps)

    def reply(self, path: str, request_hash: str, occurrence: int) -> Reply | None:
        """Find the reply that was paid for this call."""
        place = self._replies.get((path, request_hash, occurrence))
        return reply_from_json(place.read()["reply"]) if place else None

    def step(self, path: str, input_hash: str) -> StepResult | None:
        """Find the result of this step if it finished without failing."""
        place = self._steps.get((path, input_hash))
        return StepResult.from_json(place.read()["result"]) if place else None


@dataclass
class _Reading:
    """What has been gathered while the files are read."""

    pins: dict[str, tuple[str, Json]] = field(default_factory=dict)
    intents: dict[str, OpenIntent] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    replies: dict[tuple[str, str, int], _Place] = field(default_factory=dict)
    steps: dict[tuple[str, str], _Place] = field(default_factory=dict)
    skipped: int = 0

    def take(self, file: Path, line: Line) -> None:
        """Note one line; one that lacks what its kind needs counts as corrupt."""
        try:
            self._note(line.fields or {}, _Place(file, line.start, len(line.raw)))
        except (KeyError, TypeError):
            self.skipped += 1

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
