"""Runs under way: what they are doing, and how to end one."""

import time
from dataclasses import dataclass

import dagster as dg
import psutil
from dagster._core.execution.stats import StepEventStatus

from elexirion_dagster.compiler.ends import root_of
from elexirion_dagster.errors import InputError
from elexirion_dagster.execution.workers import GRACE_S, WORKERS, worker
from elexirion_dagster.operations.following import Following, State
from elexirion_dagster.operations.opened import open_instance
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.home import Home

_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_LOOK_S = 0.1


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
