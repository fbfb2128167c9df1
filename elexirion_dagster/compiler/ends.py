"""How a run ended: read from Dagster's event log, written to the journal once, by its own process where that lives."""

import logging
from collections.abc import Mapping

import dagster as dg
from dagster._core.events import DagsterEventType, RunFailureReason
from dagster_shared.error import SerializableErrorInfo

from elexirion_dagster.errors import CAUSES, Cause, ElexirionError
from elexirion_dagster.redact import Redactor
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.journal import append_once
from elexirion_dagster.tags import ROOT_RUN_TAG, TENANT_TAG

_OWN_FAILURES = (RunFailureReason.STEP_FAILURE, RunFailureReason.RUN_EXCEPTION)
"""A run that failed by itself; with any other reason its process was lost."""
_log = logging.getLogger(__name__)


def root_of(run: dg.DagsterRun) -> str:
    """The run that this one continues: a re-execution from failure continues, any other begins anew."""
    if ROOT_RUN_TAG in run.tags:
        return run.tags[ROOT_RUN_TAG]
    return run.root_run_id if run.is_resume_retry and run.root_run_id else run.run_id


def record_own_end(instance: dg.DagsterInstance, run: dg.DagsterRun, settings: Settings) -> None:
    """Journal the end of this process's run as soon as Dagster knows of it.

    What cannot be written now is left to the sensor, which journals the ends of processes that were lost as well.
    """

    def heard(entry: dg.EventLogEntry) -> None:
        ended = instance.get_run_by_id(run.run_id) if entry.dagster_event and _is_end(entry.dagster_event) else None
        if ended is None:
            return
        try:
            record_end(instance, ended, settings)
        except ElexirionError as error:
            _log.warning("the end of run %s is not in the journal yet: %s", run.run_id, error)

    instance.add_event_listener(run.run_id, heard)


def _is_end(event: dg.DagsterEvent) -> bool:
    return event.event_type in (
        DagsterEventType.RUN_SUCCESS,
        DagsterEventType.RUN_FAILURE,
        DagsterEventType.RUN_CANCELED,
    )


def record_end(
    instance: dg.DagsterInstance, run: dg.DagsterRun, settings: Settings
) -> tuple[str, Cause | None, str | None]:
    """Journal once how a finished run ended; returns status (succeeded, failed, cancelled), cause and message."""
    status, cause, message = how_it_ended(instance, run)
    message = message and Redactor(secrets=settings.secrets()).text(message)
    record = instance.get_run_record_by_id(run.run_id)
    duration = record.end_time - record.start_time if record and record.end_time and record.start_time else None
    append_once(
        open_home(settings.home),
        root_run=root_of(run),
        run=run.run_id,
        kind="run_finished",
        name=status,
        tenant=run.tags.get(TENANT_TAG),
        status=status,
        cause=cause,
        message=message,
        duration_s=duration,
    )
    return status, cause, message


def how_it_ended(instance: dg.DagsterInstance, run: dg.DagsterRun) -> tuple[str, Cause | None, str | None]:
    """Status, cause and message of a finished run, from its event log."""
    match run.status:
        case dg.DagsterRunStatus.SUCCESS:
            return "succeeded", None, None
        case dg.DagsterRunStatus.CANCELED:
            return "cancelled", "cancelled", "the run was cancelled"
    failures = instance.all_logs(run.run_id, of_type=DagsterEventType.STEP_FAILURE)
    for entry in failures:
        told = entry.dagster_event.step_failure_data.user_failure_data if entry.dagster_event else None
        if told is not None:
            return "failed", _cause(told.metadata), told.description
    ends = instance.all_logs(run.run_id, of_type=DagsterEventType.RUN_FAILURE)
    end = next((entry.dagster_event for entry in ends if entry.dagster_event), None)
    data = end.job_failure_data if end and end.event_specific_data else None
    ours = data is not None and data.failure_reason in _OWN_FAILURES
    message = _message(end.message if end else None, data.error if data else None)
    return "failed", "unknown" if ours else "worker_lost", message


def _message(text: str | None, error: SerializableErrorInfo | None) -> str | None:
    """What the run's last event says, and the error at the bottom of it."""
    while error is not None and error.cause is not None:
        error = error.cause
    return " ".join(part.strip() for part in (text, error.message if error else None) if part) or None


def _cause(metadata: Mapping[str, dg.MetadataValue]) -> Cause:
    value = metadata["cause"].value if "cause" in metadata else None
    return next((cause for cause in CAUSES if cause == value), "unknown")
