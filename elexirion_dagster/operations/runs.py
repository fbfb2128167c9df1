"""Runs: all there are, what those under way are doing, and how to end one."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg
import psutil
from dagster._core.execution.stats import StepEventStatus

from elexirion_dagster.compiler.ends import root_of
from elexirion_dagster.errors import InputError
from elexirion_dagster.execution.workers import GRACE_S, WORKERS, worker
from elexirion_dagster.operations.following import Following, State
from elexirion_dagster.operations.lineage import ENDED, state_of
from elexirion_dagster.operations.lineage import State as RunState
from elexirion_dagster.operations.opened import open_instance
from elexirion_dagster.records import Json
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.database import ingest, query
from elexirion_dagster.store.home import Home
from elexirion_dagster.tags import PIPELINE_TAG, TRIGGER_TAG

_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_LOOK_S = 0.1
_PAGE = 200
_OF_RUNS = """
SELECT run, cause, message, trigger, calls, run_costs.cost_usd FROM runs LEFT JOIN run_costs USING (root_run, run)
WHERE list_contains(?, run)
"""


@dataclass(frozen=True, slots=True)
class Listed:
    """One run. `root_run` is the run that it goes on with, itself when it goes on with none.

    `cause` and `message` say why it failed. `cost_usd` is None where nothing was asked or a price is not known.
    """

    run: str
    root_run: str
    pipeline: str
    status: RunState
    cause: str | None
    message: str | None
    trigger: str
    created_at: datetime
    started_at: datetime | None
    seconds: float | None
    calls: int
    cost_usd: float | None


def listed(settings: Settings, *, status: RunState | None, pipeline: str | None, limit: int) -> list[Listed]:
    """The newest runs of pipelines, newest first."""
    with open_instance(settings) as (home, instance):
        found: list[tuple[dg.RunRecord, RunState]] = []
        for record in _records(instance, status, pipeline):
            state = state_of(home, instance, record.dagster_run)
            if status in (None, state):
                found.append((record, state))
            if len(found) == limit:
                break
    ingest(home)
    return described(home, found)


def described(home: Home, runs: Sequence[tuple[dg.RunRecord, RunState]]) -> list[Listed]:
    """These runs with what the tables know of them; the journal's news must have been loaded."""
    rows = query(home, _OF_RUNS, [[record.dagster_run.run_id for record, _ in runs]])
    known = {row[0]: dict(zip(rows.columns, row, strict=True)) for row in rows.rows}
    return [_listed(record, state, known.get(record.dagster_run.run_id, {})) for record, state in runs]


def _records(instance: dg.DagsterInstance, status: RunState | None, pipeline: str | None) -> Iterator[dg.RunRecord]:
    """The runs that may have this status, newest first, read page by page."""
    statuses = None if status is None else [ENDED[status]] if status in ENDED else _UNDER_WAY
    wanted = dg.RunsFilter(statuses=statuses, tags={PIPELINE_TAG: pipeline} if pipeline else None)
    cursor = None
    while page := instance.get_run_records(wanted, limit=_PAGE, cursor=cursor):
        yield from (record for record in page if PIPELINE_TAG in record.dagster_run.tags)
        cursor = page[-1].dagster_run.run_id


def _listed(record: dg.RunRecord, state: RunState, known: dict[str, Json]) -> Listed:
    run, lost = record.dagster_run, state == "lost"
    end = record.end_time or (time.time() if state == "running" else None)
    return Listed(
        run=run.run_id,
        root_run=root_of(run),
        pipeline=run.tags[PIPELINE_TAG],
        status=state,
        cause="worker_lost" if lost else known.get("cause"),
        message="its process ended unexpectedly" if lost else known.get("message"),
        trigger=known.get("trigger") or run.tags.get(TRIGGER_TAG, "dagster"),
        created_at=record.create_timestamp.astimezone(UTC),
        started_at=datetime.fromtimestamp(record.start_time, UTC) if record.start_time else None,
        seconds=round(end - record.start_time, 3) if end and record.start_time else None,
        calls=known.get("calls") or 0,
        cost_usd=known.get("cost_usd"),
    )


@dataclass(frozen=True, slots=True)
class UnderWay:
    """One run that has not ended.

    `step` names the steps at work; `memory_mb` is its process's own (unique) memory; `cost_usd` is None where a price
    is not known.
    """

    run: str
    pipeline: str
    status: str
    step: str | None
    seconds: float | None
    calls: int
    cost_usd: float | None
    pid: int | None
    memory_mb: float | None


def under_way(settings: Settings) -> list[UnderWay]:
    """All runs of this home that have not ended, oldest first."""
    with open_instance(settings) as (home, instance):
        records = instance.get_run_records(dg.RunsFilter(statuses=_UNDER_WAY), ascending=True)
        return [_under_way(home, instance, record) for record in records]


def _under_way(home: Home, instance: dg.DagsterInstance, record: dg.RunRecord) -> UnderWay:
    run = record.dagster_run
    state = State()
    for line in Following(home.journal / root_of(run)).lines():
        if line.get("run") == run.run_id:
            state.take(line)
    pid = worker(home.dagster / WORKERS, run.run_id)
    return UnderWay(
        run=run.run_id,
        pipeline=run.job_name,
        status=run.status.value.lower(),
        step=_step(instance, run, state),
        seconds=time.time() - record.start_time if record.start_time else None,
        calls=state.calls,
        cost_usd=state.cost_usd,
        pid=pid,
        memory_mb=_memory_mb(pid),
    )


def _step(instance: dg.DagsterInstance, run: dg.DagsterRun, state: State) -> str | None:
    """The steps at work, with how far they are where they say so."""
    stats = instance.get_run_step_stats(run.run_id)
    working = [stat.step_key for stat in stats if stat.status == StepEventStatus.IN_PROGRESS]
    said = {path: f" {step.done} of {step.total}" for path, step in state.running.items()}
    return ", ".join(f"{name}{said.get(name, '')}" for name in working) or None


def _memory_mb(pid: int | None) -> float | None:
    if pid is None:
        return None
    try:
        return float(psutil.Process(pid).memory_full_info().uss / 1e6)
    except psutil.Error:
        return None


def end(run_id: str, settings: Settings) -> tuple[str, str]:
    """Cancel the run with this id or beginning of one; returns id and status. Raises InputError when there is none."""
    with open_instance(settings) as (_, instance):
        run = _find(instance, run_id)
        instance.run_coordinator.cancel_run(run.run_id)
        deadline = time.monotonic() + 2 * GRACE_S
        while (now := instance.get_run_by_id(run.run_id)) and not now.is_finished and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return run.run_id, now.status.value.lower() if now else "gone"


def _find(instance: dg.DagsterInstance, beginning: str) -> dg.DagsterRun:
    running = [run for run in instance.get_runs(dg.RunsFilter(statuses=_UNDER_WAY)) if run.run_id.startswith(beginning)]
    match running:
        case [run]:
            return run
        case []:
            raise InputError(f"no run that is under way begins with {beginning!r}", mend="`elexirion ps` lists them.")
    raise InputError(f"{len(running)} runs begin with {beginning!r}", mend="Give more of the id.")
