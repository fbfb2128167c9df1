"""What a run tells while it works, read from its journal as it grows."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class State:
    """Where a run stands: steps done, items of the steps under way, findings, calls, cost.

    `running` maps a step's path to items done, items in all, and a note.
    """

    steps_done: int = 0
    findings: int = 0
    calls: int = 0
    failed_calls: int = 0
    cost_usd: float | None = 0.0
    running: dict[str, tuple[int, int, str | None]] = field(default_factory=dict)

    def take(self, line: dict[str, Json]) -> None:
        """Take one journal line into account."""
        match line["kind"]:
            case "progress":
                self.running[line["path"]] = (line["done"], line["total"], line.get("note"))
            case "step" if "." not in line["path"]:
                self.steps_done += 1
            case "findings":
                self.findings += len(line["findings"])
            case "reply":
                self.calls += 1
                cost = line.get("cost_usd")
                self.cost_usd = None if cost is None or self.cost_usd is None else self.cost_usd + cost
            case "call_failed":
                self.failed_calls += 1
