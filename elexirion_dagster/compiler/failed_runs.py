"""A failed run of Dagster's as recovery sees it, and the run that goes on with it as Dagster wants it."""

import time

import dagster as dg
from dagster._core.execution.stats import StepEventStatus

from elexirion_dagster.compiler.ends import how_it_ended, root_of
from elexirion_dagster.inputs import without_secrets
from elexirion_dagster.records import Json
from elexirion_dagster.recovery.decide import Find, handed_on
from elexirion_dagster.recovery.plan import RECOVER, Failed, Launch
from elexirion_dagster.redact import Redactor
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.partitioning import BATCH
from elexirion_dagster.tags import OF_TERMINAL, PIPELINE_TAG, SCAN_TAG, TRIGGER_TAG

DERIVED_OP = "derived"
"""The one op of the job that runs derived documents."""


def is_recoverable(run: dg.DagsterRun) -> bool:
    """Whether the run is of a pipeline and not of a terminal, where a person decides."""
    return PIPELINE_TAG in run.tags and run.tags.get(TRIGGER_TAG) not in OF_TERMINAL


def failed_run(instance: dg.DagsterInstance, run: dg.DagsterRun, settings: Settings) -> Failed:
    """What recovery needs to know of a run that failed."""
    _, cause, message = how_it_ended(instance, run)
    message = message and Redactor(secrets=settings.secrets()).text(message)
    record = instance.get_run_record_by_id(run.run_id)
    return Failed(
        run=run.run_id,
        root_run=root_of(run),
        pipeline=run.tags[PIPELINE_TAG],
        cause=cause or "unknown",
        message=message,
        at=record.end_time if record and record.end_time else time.time(),
        inputs=_inputs(run, settings),
        tags=run.tags,
        at_work=None if run.job_name == RECOVER else _at_work(instance, run.run_id),
    )


def _at_work(instance: dg.DagsterInstance, run_id: str) -> frozenset[str]:
    """The steps that had begun and did not end well."""
    stats = instance.get_run_step_stats(run_id)
    return frozenset(one.step_key for one in stats if one.status is not StepEventStatus.SUCCESS)


def _inputs(run: dg.DagsterRun, settings: Settings) -> dict[str, Json]:
    """The inputs of a pipeline's run, without secrets; the generic job has them one level down."""
    config: dict[str, Json] = dict(run.run_config)
    given = dict(config["ops"][DERIVED_OP]["config"]["inputs"]) if run.job_name == RECOVER else config
    files = {BATCH: given[BATCH]} if BATCH in given and SCAN_TAG in run.tags else {}
    return {**without_secrets(given, Redactor(secrets=settings.secrets())), **files}


def request(run: dg.DagsterRun, launch: Launch, find: Find, settings: Settings) -> dg.RunRequest:
    """The run to start, with the inputs of the one that failed."""
    inputs = _inputs(run, settings)
    if launch.job == RECOVER:
        config: dict[str, Json] = {"ops": {DERIVED_OP: {"config": {"of": run.run_id, "inputs": inputs}}}}
    elif launch.job == run.job_name:
        config = inputs
    else:
        config = handed_on(find(run.tags[PIPELINE_TAG]).pipeline, find(launch.job).pipeline, inputs)
    return dg.RunRequest(run_key=launch.key, run_config=config, tags=dict(launch.tags), job_name=launch.job)
