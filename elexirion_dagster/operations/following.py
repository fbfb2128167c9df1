"""What a run tells while it works, read from its journal as it grows."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from elexirion_dagster.records import Json
from elexirion_dagster.store.journal import read_lines


@dataclass(slots=True)
class Following:
    """Reads the lines that a root run's journal gained since the last look; whole lines only."""

    folder: Path
    _offsets: dict[Path, int] = field(default_factory=dict)

    def lines(self) -> Iterator[dict[str, Json]]:
        """The new lines, file by file."""
        for file in sorted(self.folder.glob("*.jsonl")):
            for line in read_lines(file, self._offsets.get(file, 0)):
                self._offsets[file] = line.start + len(line.raw)
                if line.fields is not None:
                    yield line.fields


@dataclass(frozen=True, slots=True)
class Step:
    """A step under way: its items, and what it says of itself."""

    done: int
    failed: int
    total: int
    note: str | None


@dataclass(slots=True)
class State:
    """Where a run stands: steps done, those under way by their path, findings, calls, cost.

    `notices` are what a person should see before the work goes on; whoever shows them takes them out.
    """

    steps_done: int = 0
    findings: int = 0
    calls: int = 0
    failed_calls: int = 0
    cost_usd: float | None = 0.0
    running: dict[str, Step] = field(default_factory=dict)
    asking: str | None = None
    """How far the calls are that take long."""
    notices: list[str] = field(default_factory=list)
    _heard: set[str] = field(default_factory=set)
    _speaking: set[str] = field(default_factory=set)
    _unscored: set[str] = field(default_factory=set)
    """Scores that were told to be none; of many items the first is told."""

    def take(self, line: dict[str, Json]) -> None:
        """Take one journal line into account."""
        match line["kind"]:
            case "progress":
                self._progress(line["path"], Step(line["done"], line["failed"], line["total"], line.get("note")))
            case "partial":
                self._partial(line["path"], line["text"], line["note"])
            case "step":
                self.running.pop(line["path"], None)
                self.steps_done += "." not in line["path"]
            case "findings":
                self.findings += len(line["findings"])
            case "reply":
                self.calls += 1
                self.asking = None
                self._speaking.discard(line["path"])
                cost = line.get("cost_usd")
                self.cost_usd = None if cost is None or self.cost_usd is None else self.cost_usd + cost
            case "score" if line["error"] and line["name"] not in self._unscored:
                self._unscored.add(line["name"])
                self.notices.append(f"{line['path']}: {line['error']}")
            case "call_failed":
                self.failed_calls += 1
                self.asking = None
                if line["path"] in self._speaking:
                    self._speaking.discard(line["path"])
                    self.notices.append(
                        f"{line['path']} | this attempt failed ({line['cause']}), its text does not count"
                    )

    def _partial(self, path: str, text: str | None, note: str | None) -> None:
        """Take lines of an answer under way, or how far long calls are."""
        self.asking = note or self.asking
        if text is not None:
            self._speaking.add(path)
            self.notices += [_shown(path, line) for line in text.split("\n")]

    def _progress(self, path: str, step: Step) -> None:
        """Take a step's progress; what it says with its first line, before its first item, is a notice."""
        if path not in self._heard and step.note and step.done == 0:
            self.notices.append(f"{path}: {step.note}")
            step = replace(step, note=None)
        self._heard.add(path)
        self.running[path] = step


def _shown(path: str, text: str) -> str:
    """A line of an answer; what would steer a terminal is left out."""
    return f"{path} | {''.join(sign for sign in text if sign.isprintable() or sign == chr(9))}"
