"""What the journal says about the failures of one root run: what was decided before, and what its runs were."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from elexirion_dagster.records import Json
from elexirion_dagster.store.home import Home, storage_error
from elexirion_dagster.store.journal import FORMAT, files_of

_KINDS = ("recovery", "adoption", "run_started", "call_failed")
_MARKS = tuple(f'{{"v":{FORMAT},"kind":"{kind}",'.encode() for kind in _KINDS)
Line = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Past:
    """The recoveries of one root run so far.

    `decided` has the decision about each failed run, in order of time; `hashes` and `pipelines` what each run began
    with; `hints_s` how long the server that failed a run last wanted to be left alone; `adopted` what people took.
    """

    decided: Mapping[str, Line] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    pipelines: Mapping[str, str] = field(default_factory=dict)
    hints_s: Mapping[str, float] = field(default_factory=dict)
    adopted: frozenset[str] = frozenset()

    @property
    def launched(self) -> int:
        """How many runs were started after failures."""
        return sum(len(line["launches"]) for line in self.decided.values())


def past(home: Home, root_run: str) -> Past:
    """Read what is known of a root run. StorageError when its journal cannot be read."""
    lines = sorted(_lines(home, root_run), key=lambda line: line["ts"])
    decided: dict[str, Line] = {}
    hashes, pipelines, hints = {}, {}, {}
    for line in lines:
        run = line["run"]
        match line["kind"]:
            case "recovery":
                decided.setdefault(run, line)
            case "run_started":
                hashes[run], pipelines[run] = line["pipeline_hash"], line["pipeline"]
            case "call_failed" if line.get("retry_after_s") is not None:
                hints[run] = line["retry_after_s"]
    adopted = frozenset(line["run"] for line in lines if line["kind"] == "adoption")
    return Past(decided, hashes, pipelines, hints, adopted)


def _lines(home: Home, root_run: str) -> list[dict[str, Json]]:
    """The lines of these kinds; the others, which may be many and long, are not parsed."""
    found = []
    for file in files_of(home, root_run):
        try:
            with file.open("rb") as stream:
                found += [line for raw in stream if raw.startswith(_MARKS) and (line := _parsed(raw)) is not None]
        except OSError as error:
            raise storage_error(error, file) from error
    return found


def _parsed(raw: bytes) -> dict[str, Json] | None:
    """The line, unless it was torn when its process died."""
    try:
        fields: dict[str, Json] = json.loads(raw)
    except ValueError:
        return None
    return fields
