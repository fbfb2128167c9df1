"""Runs by the beginning of their id, the state each is in, and the runs that go on with one another."""

from collections.abc import Mapping
from typing import Literal

import dagster as dg
from dagster._core.launcher.base import WorkerStatus

from elexirion_dagster.compiler.ends import root_of
from elexirion_dagster.errors import InputError
from elexirion_dagster.execution.workers import WORKERS, claimed, is_launching, worker
from elexirion_dagster.operations.serve import is_served
from elexirion_dagster.store.home import Home
from elexirion_dagster.tags import PIPELINE_TAG, ROOT_RUN_TAG

State = Literal["queued", "running", "lost", "succeeded", "failed", "cancelled"]
"""`lost`: Dagster takes the run for one that works, and its process is gone."""
ENDED: Mapping[State, dg.DagsterRunStatus] = {
    "succeeded": dg.DagsterRunStatus.SUCCESS,
    "failed": dg.DagsterRunStatus.FAILURE,
    "cancelled": dg.DagsterRunStatus.CANCELED,
}
_OF_STATUS: Mapping[dg.DagsterRunStatus, State] = {status: state for state, status in ENDED.items()}
_SHOWN = 5


def state_of(home: Home, instance: dg.DagsterInstance, run: dg.DagsterRun) -> State:
    """The state of a run, by what Dagster knows and by whether its process lives; nothing is changed."""
    if run.status in _OF_STATUS:
        return _OF_STATUS[run.status]
    state = _unfinished(home, instance, run)
    now = instance.get_run_by_id(run.run_id) if state == "lost" else None  # it may have ended since it was read
    return state if now is None else _OF_STATUS.get(now.status, state)


def _unfinished(home: Home, instance: dg.DagsterInstance, run: dg.DagsterRun) -> State:
    folder = home.dagster / WORKERS
    kind = claimed(folder, run.run_id)
    if worker(folder, run.run_id) is not None:
        return "running"
    if kind in ("terminal", "warm"):
        return "lost"
    if run.status in (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED):
        return "queued"
    if kind is None:
        starting = run.status is dg.DagsterRunStatus.STARTING
        return "lost" if starting and not is_launching(folder, run.run_id) and not is_served(home) else "running"
    launcher = instance.run_launcher
    if not launcher.supports_check_run_worker_health:
        return "running"
    return "lost" if launcher.check_run_worker_health(run).status is WorkerStatus.FAILED else "running"


def find(instance: dg.DagsterInstance, beginning: str) -> dg.DagsterRun:
    """The pipeline's run whose id begins so. Raises InputError when there is none, or more than one."""
    exact = instance.get_run_by_id(beginning)
    found = [beginning] if exact else [one for one in instance.get_run_ids() if one.startswith(beginning)]
    mend = "`elexirion runs` lists them."
    if not found:
        raise InputError(f"no run has an id that begins with {beginning!r}", mend=mend)
    if len(found) > 1:
        shown = ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
        raise InputError(f"{len(found)} runs begin with {beginning!r}: {shown}", mend="Give more of the id.")
    run = exact or instance.get_run_by_id(found[0])
    if run is None or PIPELINE_TAG not in run.tags:
        raise InputError(f"{found[0]} is not the run of a pipeline", mend=mend)
    return run


def lineage(instance: dg.DagsterInstance, root: str) -> list[dg.RunRecord]:
    """The root run and all runs that go on with it, oldest first."""
    filters = [
        dg.RunsFilter(run_ids=[root]),
        dg.RunsFilter(tags={ROOT_RUN_TAG: root}),
        dg.RunsFilter(tags={"dagster/root_run_id": root}),
    ]
    records = {one.dagster_run.run_id: one for given in filters for one in instance.get_run_records(given)}
    of_root = [one for one in records.values() if root_of(one.dagster_run) == root]
    return sorted(of_root, key=lambda one: (one.create_timestamp, one.storage_id))
