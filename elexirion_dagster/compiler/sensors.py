"""Sensors of the runtime location: lost runs end, how runs ended goes to the journal, the journal to the tables."""

from functools import partial
from typing import Literal

import dagster as dg
from dagster._core.events import DagsterEventType
from dagster._core.launcher.base import WorkerStatus

from elexirion_dagster.compiler.ends import record_end
from elexirion_dagster.compiler.kept import kept_instance
from elexirion_dagster.errors import InputError
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.home import open_home
from elexirion_dagster.tags import PIPELINE_TAG

_End = Literal[DagsterEventType.RUN_SUCCESS, DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED]
_ENDS: tuple[_End, ...] = (
    DagsterEventType.RUN_SUCCESS,
    DagsterEventType.RUN_FAILURE,
    DagsterEventType.RUN_CANCELED,
)
_BATCH = 200
_STARTING, _CANCELING = dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING
AT_WORK = (_STARTING, dg.DagsterRunStatus.STARTED, _CANCELING)
"""Statuses of runs that a worker should be at."""


def record_runs_sensor(settings: Settings) -> dg.SensorDefinition:
    """Journals every finished pipeline run, failed ones with their cause; begins with the runs that end from now on."""

    @dg.sensor(
        name="record_runs",
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Records how each pipeline run ended, with the cause of a failure.",
    )
    def record_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        cursors = _cursors(context)
        recorded = 0
        for event_type in _ENDS:
            changes = kept_instance(context).fetch_run_status_changes(
                dg.RunStatusChangeRecordsFilter(event_type, after_storage_id=cursors[event_type]),
                _BATCH,
                ascending=True,
            )
            for change in changes.records:
                run = kept_instance(context).get_run_by_id(change.event_log_entry.run_id)
                if run is not None and PIPELINE_TAG in run.tags:
                    recorded += _recorded(context, run, settings)
                cursors[event_type] = change.storage_id
        context.update_cursor(",".join(str(cursors[event_type]) for event_type in _ENDS))
        return dg.SkipReason(f"recorded {recorded} finished runs")

    return record_runs


def _recorded(context: dg.SensorEvaluationContext, run: dg.DagsterRun, settings: Settings) -> bool:
    """Record one end; a run whose tags cannot be used must not keep those after it from being recorded."""
    try:
        record_end(kept_instance(context), run, settings)
    except InputError as error:
        context.log.warning("run %s is not recorded: %s", run.run_id, error)
        return False
    return True


def _cursors(context: dg.SensorEvaluationContext) -> dict[_End, int]:
    """The last storage id seen per kind of end; the newest there is on the first tick."""
    if context.cursor:
        return dict(zip(_ENDS, (int(part) for part in context.cursor.split(",")), strict=True))
    cursors: dict[_End, int] = {}
    for event_type in _ENDS:
        newest = kept_instance(context).fetch_run_status_changes(event_type, 1).records
        cursors[event_type] = newest[0].storage_id if newest else 0
    return cursors


def reap_sensor() -> dg.SensorDefinition:
    """Ends runs whose worker died before they started, or while they were cancelled.

    Dagster's monitoring asks for the worker of started runs only; these it leaves until their time is over.
    """

    @dg.sensor(
        name="reap_runs",
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Ends runs whose worker died before they started, or while they were cancelled.",
    )
    def reap_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        instance = kept_instance(context)
        launcher = instance.run_launcher
        ended = 0
        if launcher.supports_check_run_worker_health:
            ended = sum(
                map(partial(reap, instance), instance.get_runs(dg.RunsFilter(statuses=[_STARTING, _CANCELING])))
            )
        return dg.SkipReason(f"ended {ended} runs")

    return reap_runs


def reap(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """End a run whose worker is dead; False where it is not."""
    launcher = instance.run_launcher
    health = launcher.check_run_worker_health(run)
    now = instance.get_run_by_id(run.run_id)  # its worker may have said how it ended since
    if health.status is not WorkerStatus.FAILED or now is None or now.status is not run.status:
        return False
    said = "\n".join(filter(None, (health.msg, launcher.get_run_worker_debug_info(run))))
    (instance.report_run_canceled if now.status is _CANCELING else instance.report_run_failed)(now, said)
    return True


def ingest_sensor(settings: Settings) -> dg.SensorDefinition:
    """Loads new journal lines into DuckDB."""

    @dg.sensor(
        name="ingest_outcomes",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Loads new journal lines into the DuckDB tables.",
    )
    def ingest_outcomes() -> dg.SkipReason:
        # DuckDB takes 150 ms to import (measured); loading the location need not wait for it.
        from elexirion_dagster.store.database import ingest  # noqa: PLC0415

        report = ingest(open_home(settings.home))
        return dg.SkipReason(f"loaded {report.lines} journal lines from {report.files} files")

    return ingest_outcomes
