"""Puts the run that recovers another into Dagster's queue, from any process and without a code server."""

import uuid
from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterRunAlreadyExists
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster._core.storage.tags import PARTITION_NAME_TAG, REPOSITORY_LABEL_TAG, RUN_KEY_TAG, SENSOR_NAME_TAG

from elexirion_dagster.recovery.plan import Launch

SENSOR = "recover_runs"
"""Name of the sensor that looks after recoveries; their runs bear it, whoever started them."""
_NAMES = uuid.UUID("1f6b6f0e-6c0d-5b4e-9f4e-0d7c5a6f2b11")
"""The namespace of run ids that are made from the keys of launches."""


def can_copy(instance: dg.DagsterInstance, failed: dg.DagsterRun, launch: Launch) -> bool:
    """Whether the run to start is of the same job as the failed one, so that its record says all that Dagster needs.

    The answer must be the same for all who ask: what cannot be copied, only the sensor's daemon starts.
    """
    if not isinstance(instance.run_coordinator, QueuedRunCoordinator) or PARTITION_NAME_TAG in failed.tags:
        return False
    known = failed.remote_job_origin is not None and failed.job_snapshot_id is not None
    return launch.job == failed.job_name and known and _is_whole(instance, failed)


def _is_whole(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the run was to execute the whole job from its beginning."""
    if run.op_selection is not None or run.asset_selection is not None or run.execution_plan_snapshot_id is None:
        return False
    plan = instance.get_execution_plan_snapshot(run.execution_plan_snapshot_id)
    steps = {step.key for step in plan.steps}
    state = plan.initial_known_state
    begins = state is None or (state.parent_state is None and not state.ready_outputs)
    return begins and steps == set(plan.step_keys_to_execute)


def start_copy(instance: dg.DagsterInstance, failed: dg.DagsterRun, launch: Launch, config: Mapping[str, Any]) -> bool:
    """Enqueue a copy of the failed run with the tags of the launch and this config; False where that was done before.

    The key of the launch decides the id of the run, so that of all who try, one starts it.
    """
    run_id = str(uuid.uuid5(_NAMES, launch.key))
    found = instance.get_run_by_id(run_id)
    if found is None and (runs := instance.get_runs(dg.RunsFilter(tags={RUN_KEY_TAG: launch.key}), limit=1)):
        found = runs[0]  # one that a sensor of before asked for
    if found is not None and found.status is not dg.DagsterRunStatus.NOT_STARTED:
        return False
    if found is None:
        try:
            instance.add_run(_copy(instance, failed, run_id, launch, config))
        except DagsterRunAlreadyExists:
            return False
    # The queue's coordinator has no use for the workspace, which only a daemon or a web server has.
    instance.submit_run(found.run_id if found else run_id, None)  # type: ignore[arg-type]
    return True


def _copy(
    instance: dg.DagsterInstance, failed: dg.DagsterRun, run_id: str, launch: Launch, config: Mapping[str, Any]
) -> dg.DagsterRun:
    origin = failed.remote_job_origin
    tags: Mapping[str, str] = {
        **_job_tags(instance, failed),
        **launch.tags,
        RUN_KEY_TAG: launch.key,
        SENSOR_NAME_TAG: SENSOR,
        **({REPOSITORY_LABEL_TAG: origin.repository_origin.get_label()} if origin else {}),
    }
    return dg.DagsterRun(
        job_name=failed.job_name,
        run_id=run_id,
        run_config=config,
        step_keys_to_execute=failed.step_keys_to_execute,
        status=dg.DagsterRunStatus.NOT_STARTED,
        tags=tags,
        job_snapshot_id=failed.job_snapshot_id,
        execution_plan_snapshot_id=failed.execution_plan_snapshot_id,
        remote_job_origin=origin,
        job_code_origin=failed.job_code_origin,
        has_repository_load_data=failed.has_repository_load_data,
    )


def _job_tags(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Mapping[str, str]:
    """The tags that the job gives to each of its runs."""
    snapshot = instance.get_job_snapshot(run.job_snapshot_id) if run.job_snapshot_id else None
    return {} if snapshot is None else snapshot.run_tags or snapshot.tags
