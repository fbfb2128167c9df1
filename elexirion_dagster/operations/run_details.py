"""One run explained: where it came from, what it did, why it ended, what goes on with it, what to do next."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from elexirion_dagster.compiler.ends import root_of
from elexirion_dagster.operations.lineage import State, find, lineage, state_of
from elexirion_dagster.operations.opened import open_instance
from elexirion_dagster.operations.runs import Listed, described
from elexirion_dagster.records import Json
from elexirion_dagster.recovery.report import NAME
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.database import ingest, query
from elexirion_dagster.store.failures.recoveries import past
from elexirion_dagster.store.home import Home
from elexirion_dagster.tags import FILE_TAG, FOLDER_TAG, MODEL_TAG, REASON_TAG, RECOVERY_TAG

_RUN = "SELECT description, inputs, outputs FROM runs WHERE run = ?"
_STEPS = """
SELECT path AS step, step_type AS type, status, cause, coalesce(message, reason) AS message, duration_s, cost_usd,
    attempts, run
FROM steps WHERE root_run = ? AND NOT contains(path, '.')
QUALIFY row_number() OVER (PARTITION BY path ORDER BY ts DESC) = 1 ORDER BY started_at, path
"""
_CALLS = """
SELECT count(*) AS calls, count(*) FILTER (status = 'failed') AS failed,
    count(*) FILTER (status = 'possibly_paid') AS possibly_paid, sum(cost_usd) AS cost_usd,
    sum(input_tokens + output_tokens + cache_read_tokens + cache_write_tokens) AS tokens,
    list(DISTINCT provider || '/' || model ORDER BY provider || '/' || model) AS models
FROM calls WHERE root_run = ?
"""


@dataclass(frozen=True, slots=True)
class Relative:
    """One run of those that go on with one another, and why it was started."""

    run: str
    pipeline: str
    status: State
    trigger: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Details:
    """Everything about one run.

    `steps` and `calls` are those of the root run and of all runs that go on with it: each step as it came out last.
    `recovery` is what was decided after the run failed. `next` are commands and what they do.
    """

    run: Listed
    description: str | None
    file: str | None
    folder: str | None
    model: str | None
    inputs: Mapping[str, Json]
    outputs: Mapping[str, Json]
    steps: list[dict[str, Json]]
    calls: dict[str, Json]
    lineage: list[Relative]
    recovery: dict[str, Json] | None
    reports: dict[str, str]
    workspace: str | None
    next: list[str]


def details(beginning: str, settings: Settings) -> Details:
    """Explain the run whose id begins so. Raises InputError when there is none, or more than one."""
    with open_instance(settings) as (home, instance):
        run = find(instance, beginning)
        records = lineage(instance, root_of(run))
        states = {one.dagster_run.run_id: state_of(home, instance, one.dagster_run) for one in records}
    ingest(home)
    listed = {one.run: one for one in described(home, [(one, states[one.dagster_run.run_id]) for one in records])}
    this, root = listed[run.run_id], root_of(run)
    own = next(iter(_dicts(home, _RUN, run.run_id)), {})
    family = [_relative(one.dagster_run, listed[one.dagster_run.run_id]) for one in records]
    decided = past(home, root).decided.get(run.run_id)
    workspace = home.workspace(root)
    return Details(
        run=this,
        description=own.get("description"),
        file=run.tags.get(FILE_TAG),
        folder=run.tags.get(FOLDER_TAG),
        model=run.tags.get(MODEL_TAG),
        inputs=_object(own.get("inputs")),
        outputs=_object(own.get("outputs")),
        steps=_dicts(home, _STEPS, root),
        calls=_dicts(home, _CALLS, root)[0],
        lineage=family,
        recovery=None if decided is None else {name: decided[name] for name in ("action", "reason", "due_at")},
        reports={kind: str(file) for kind, file in _reports(home.report(run.run_id))},
        workspace=str(workspace) if workspace.is_dir() else None,
        next=list(_next(this, family, {} if decided is None else decided)),
    )


def _dicts(home: Home, sql: str, key: str) -> list[dict[str, Json]]:
    rows = query(home, sql, [key])
    return [dict(zip(rows.columns, row, strict=True)) for row in rows.rows]


def _object(text: Json) -> dict[str, Json]:
    """A column that holds a JSON object."""
    return json.loads(text) if text else {}


def _relative(run: dg.DagsterRun, listed: Listed) -> Relative:
    after = run.tags.get(RECOVERY_TAG) or run.parent_run_id
    reason = run.tags.get(REASON_TAG) if RECOVERY_TAG in run.tags else after and f"goes on with {after}"
    return Relative(run.run_id, listed.pipeline, listed.status, listed.trigger, reason)


def _reports(folder: Path) -> Iterator[tuple[str, Path]]:
    """The report files of a run by kind; that of a parked run is `parked`."""
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        yield ("parked" if file.name == NAME else file.suffix[1:]), file


def _next(run: Listed, family: list[Relative], decided: Mapping[str, Json]) -> Iterator[str]:
    """What a person can do, one sentence each; `decided` is what recovery made of the run, if anything."""
    later = family[[one.run for one in family].index(run.run) + 1 :]
    match run.status:
        case "queued":
            yield "It starts as soon as `elexirion up` runs and has a place for it."
            yield f"Take it out of the queue: elexirion stop {run.run}"
        case "running":
            yield "Watch it: elexirion ps"
            yield f"End it: elexirion stop {run.run}"
        case "failed" | "cancelled" | "lost":
            done = next((one for one in later if one.status == "succeeded"), None)
            busy = next((one for one in later if one.status in ("queued", "running")), None)
            if going := done or busy:
                yield f"Run {going.run} goes on with it ({going.status}): elexirion show {going.run}"
                return
            if decided.get("launches") and not later:
                yield "`elexirion up` goes on with it by itself. To do so here instead, first end `elexirion up`."
            if decided.get("action") == "park":
                yield f"Read what was tried: elexirion recoveries show {run.run}"
            yield f"Go on where it stopped, without paying again: elexirion resume {run.run}"
        case "succeeded":
            yield "Look at its model calls: elexirion outcomes"
