"""What the journal says about the failures of one root run: what was decided before, and what its runs were."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from elexirion_dagster.errors import Cause
from elexirion_dagster.records import Json
from elexirion_dagster.store.home import Home, storage_error
from elexirion_dagster.store.journal import FORMAT, files_of

_KINDS = ("recovery", "adoption", "run_started", "call_failed", "given_up")
_MARKS = tuple(f'{{"v":{FORMAT},"kind":"{kind}",'.encode() for kind in _KINDS)
_STEP = f'{{"v":{FORMAT},"kind":"step",'.encode()
_NEW = (_STEP, *(f'{{"v":{FORMAT},"kind":"{kind}",'.encode() for kind in ("reply", "tool", "scanned", "outputs")))
"""How lines begin that are progress; a step's is if it finished."""
_RUN, _STATUS = re.compile(rb'"run":"([^"]*)"'), re.compile(rb'"status":"(\w+)"')
"""Where a line has them first. Inside a text the quotes would have backslashes before them."""
_FINISHED = (b"succeeded", b"degraded", b"skipped")
Line = Mapping[str, Json]


class GivenUp(NamedTuple):
    """A call that none of its models answered; `refused`: the circuit breaker kept it from being sent."""

    models: tuple[str, ...]
    cause: Cause
    refused: bool


@dataclass(frozen=True, slots=True)
class Past:
    """The recoveries of one root run so far.

    `decided` has the decision about each failed run, in order of time; `hashes` and `pipelines` what each run began
    with; `hints_s` how long the server that failed a run last wanted to be left alone; `adopted` what people took.
    `progressed` are the runs that journaled something new: a reply, a tool's answer, a step that finished, scanned
    files or outputs. What a run finds in the journal it does not write again, so each of these lines is new.
    `given_up` has the calls of each run that no model answered, the last one of each path.
    """

    decided: Mapping[str, Line] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    pipelines: Mapping[str, str] = field(default_factory=dict)
    hints_s: Mapping[str, float] = field(default_factory=dict)
    adopted: frozenset[str] = frozenset()
    progressed: frozenset[str] = frozenset()
    given_up: Mapping[str, tuple[GivenUp, ...]] = field(default_factory=dict)
    continued_at: Mapping[str, float] = field(default_factory=dict)
    """When the run that went on with a failed one began, by the failed one (seconds since 1970)."""


def past(home: Home, root_run: str) -> Past:
    """Read what is known of a root run. StorageError when its journal cannot be read."""
    found, progressed = _read(home, root_run)
    lines = sorted(found, key=lambda line: line["ts"])
    decided: dict[str, Line] = {}
    hashes, pipelines, hints = {}, {}, {}
    given_up: dict[str, dict[str, GivenUp]] = {}
    continued_at: dict[str, float] = {}
    for line in lines:
        run = line["run"]
        match line["kind"]:
            case "recovery":
                decided.setdefault(run, line)
            case "run_started":
                hashes[run], pipelines[run] = line["pipeline_hash"], line["pipeline"]
                if line.get("recovery_of"):
                    continued_at.setdefault(line["recovery_of"], datetime.fromisoformat(line["ts"]).timestamp())
            case "call_failed" if line.get("retry_after_s") is not None:
                hints[run] = line["retry_after_s"]
            case "given_up":
                call = GivenUp(tuple(line["models"]), line["cause"], line["refused"])
                given_up.setdefault(run, {})[line["path"]] = call
    adopted = frozenset(line["run"] for line in lines if line["kind"] == "adoption")
    calls = {run: tuple(by_path.values()) for run, by_path in given_up.items()}
    return Past(decided, hashes, pipelines, hints, adopted, progressed, calls, continued_at)


def _read(home: Home, root_run: str) -> tuple[list[dict[str, Json]], frozenset[str]]:
    """The lines of these kinds, and the runs that made progress; the other lines, many and long, are not parsed."""
    found, progressed = [], set[str]()
    for file in files_of(home, root_run):
        try:
            with file.open("rb") as stream:
                for raw in stream:
                    progressed.update(_progress(raw))
                    if raw.startswith(_MARKS) and (line := _parsed(raw)) is not None:
                        found.append(line)
        except OSError as error:
            raise storage_error(error, file) from error
    return found, frozenset(progressed)


def _progress(raw: bytes) -> Iterator[str]:
    """The run of a whole line that says something new."""
    if not raw.startswith(_NEW) or not raw.endswith(b"\n"):
        return
    run, status = _RUN.search(raw), _STATUS.search(raw) if raw.startswith(_STEP) else None
    if run is not None and (status is None or status[1] in _FINISHED):
        yield run[1].decode()


def _parsed(raw: bytes) -> dict[str, Json] | None:
    """The line, unless it was torn when its process died."""
    try:
        fields: dict[str, Json] = json.loads(raw)
    except ValueError:
        return None
    return fields
