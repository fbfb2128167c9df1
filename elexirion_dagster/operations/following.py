"""What a run tells while it works, read from its journal as it grows."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from elexirion_dagster.records import Json


@dataclass(slots=True)
class Following:
    """Reads the lines that a root run's journal gained since the last look; whole lines only."""

    folder: Path
    _offsets: dict[Path, int] = field(default_factory=dict)

    def lines(self) -> Iterator[dict[str, Json]]:
        """The new lines, file by file."""
        for file in sorted(self.folder.glob("*.jsonl")):
            with file.open("rb") as stream:
                stream.seek(self._offsets.get(file, 0))
                for raw in stream:
                    if not raw.endswith(b"\n"):
                        break
                    self._offsets[file] = self._offsets.get(file, 0) + len(raw)
                    yield json.loads(raw)


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
    notices: list[str] = field(default_factory=list)
    _heard: set[str] = field(default_factory=set)

    def take(self, line: dict[str, Json]) -> None:
        """Take one journal line into account."""
        match line["kind"]:
            case "progress":
                self._progress(line["path"], Step(line["done"], line["failed"], line["total"], line.get("note")))
            case "step":
                self.running.pop(line["path"], None)
                self.steps_done += "." not in line["path"]
            case "findings":
                self.findings += len(line["findings"])
            case "reply":
                self.calls += 1
                cost = line.get("cost_usd")
                self.cost_usd = None if cost is None or self.cost_usd is None else self.cost_usd + cost
            case "call_failed":
                self.failed_calls += 1

    def _progress(self, path: str, step: Step) -> None:
        """Take a step's progress; what it says with its first line, before its first item, is a notice."""
        if path not in self._heard and step.note and step.done == 0:
            self.notices.append(f"{path}: {step.note}")
            step = replace(step, note=None)
        self._heard.add(path)
        self.running[path] = step
