"""The sensor that recovers failed runs, and the job that runs documents derived from their pipelines."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.events import DagsterEventType

from elexirion_dagster.compiler.kept import kept_instance
from elexirion_dagster.compiler.metadata import of_outputs, of_result
from elexirion_dagster.compiler.ops import Finish, step_failure
from elexirion_dagster.compiler.resources import RUN, Unopened, Wanted, failure, info_of, opened, root_of
from elexirion_dagster.compiler.sensors import how_it_ended
from elexirion_dagster.errors import Cancelled, ElexirionError, StorageError
from elexirion_dagster.records import Json, StepResult
from elexirion_dagster.recovery.candidates import verified
from elexirion_dagster.recovery.decide import LONGEST_PAUSE_S, Find, fitting
from elexirion_dagster.recovery.plan import RECOVER, Failed, Launch
from elexirion_dagster.recovery.recover import finder, recover
from elexirion_dagster.run import Run
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.failures.recoveries import past
from elexirion_dagster.store.home import open_home
from elexirion_dagster.tags import CHANGE_TAG, CLI, PIPELINE_TAG, RECOVERY_TAG, TRIGGER_TAG

_BATCH = 200
_AGAIN_S = 15.0
_FAILURE: Literal[DagsterEventType.RUN_FAILURE] = DagsterEventType.RUN_FAILURE
_STEPS = "derived"
"""The one op of the job that runs derived documents."""
Known = Callable[[], Mapping[str, Path]]
"""The pipeline files there are now, by name."""


@dataclass(slots=True)
class _Cursor:
    """The last failure seen, and the plans that wait: failed run to the moment from which they are due."""

    after: int
    waiting: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, context: dg.SensorEvaluationContext) -> Self:
        """What the last tick left; the newest failure there is on the first one."""
        if context.cursor:
            return cls(**json.loads(context.cursor))
        newest = kept_instance(context).fetch_run_status_changes(_FAILURE, 1).records
        return cls(newest[0].storage_id if newest else 0)

    def text(self) -> str:
        return json.dumps({"after": self.after, "waiting": self.waiting})


def recovery_sensor(settings: Settings, known: Known, jobs: Sequence[dg.JobDefinition]) -> dg.SensorDefinition:
    """Starts what a failed run's pipeline says under `fallback`, or the default policy; all new failures in one tick.

    Begins with the failures from now on. A plan is in the journal before its runs are asked for, and each run has a
    key: a daemon that dies in between asks again for the same runs, which Dagster starts once.
    """
    names = frozenset(job.name for job in jobs)

    @dg.sensor(
        name="recover_runs",
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Recovers failed runs by the cause of their failure.",
        jobs=jobs,
    )
    def recover_runs(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        cursor = _Cursor.of(context)
        files = known()
        find = finder(files, names)
        requests: list[dg.RunRequest] = []
        told = []
        for run in [*_due(context, cursor), *_failed(context, cursor)]:
            try:
                plan = recover(_told(kept_instance(context), run), settings, files, find)
                if plan.due_at is not None and 0 < plan.due_at - time.time() <= LONGEST_PAUSE_S:
                    cursor.waiting[run.run_id] = plan.due_at
                else:
                    requests += [_request(run, launch, find) for launch in plan.launches]
                told.append(f"{run.run_id}: {plan.action}")
            except StorageError as error:  # a full disk: nothing could be decided, so it is asked again
                cursor.waiting[run.run_id] = time.time() + _AGAIN_S
                told.append(f"{run.run_id}: {error}")
            except ElexirionError as error:  # one that cannot be recovered must not hold up those after it
                context.log.error("run %s is not recovered: %s", run.run_id, error)  # noqa: TRY400 - said in words
        skip = None if requests else f"{', '.join(told) or 'no new failures'}; {len(cursor.waiting)} wait"
        return dg.SensorResult(run_requests=requests, skip_reason=skip, cursor=cursor.text())

    return recover_runs


def _due(context: dg.SensorEvaluationContext, cursor: _Cursor) -> Iterator[dg.DagsterRun]:
    """The failed runs whose recoveries have waited long enough; no wait is longer, but clocks are set back."""
    for run_id in [run for run, due in cursor.waiting.items() if not 0 < due - time.time() <= LONGEST_PAUSE_S]:
        del cursor.waiting[run_id]
        run = kept_instance(context).get_run_by_id(run_id)
        if run is not None:
            yield run


def _failed(context: dg.SensorEvaluationContext, cursor: _Cursor) -> Iterator[dg.DagsterRun]:
    """The runs of pipelines that failed since; those of a terminal are their person's."""
    changes = kept_instance(context).fetch_run_status_changes(
        dg.RunStatusChangeRecordsFilter(_FAILURE, after_storage_id=cursor.after), _BATCH, ascending=True
    )
    for change in changes.records:
        run = kept_instance(context).get_run_by_id(change.event_log_entry.run_id)
        cursor.after = change.storage_id
        if run is not None and PIPELINE_TAG in run.tags and run.tags.get(TRIGGER_TAG) != CLI:
            yield run


def _told(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Failed:
    _, cause, message = how_it_ended(instance, run)
    record = instance.get_run_record_by_id(run.run_id)
    return Failed(
        run=run.run_id,
        root_run=root_of(run),
        pipeline=run.tags[PIPELINE_TAG],
        cause=cause or "unknown",
        message=message,
        at=record.end_time if record and record.end_time else time.time(),
        inputs=_inputs(run),
        tags=run.tags,
    )


def _inputs(run: dg.DagsterRun) -> dict[str, Json]:
    """The inputs of a pipeline's run; the generic job has them one level down."""
    config: dict[str, Json] = dict(run.run_config)
    return dict(config["ops"][_STEPS]["config"]["inputs"]) if run.job_name == RECOVER else config


def _request(run: dg.DagsterRun, launch: Launch, find: Find) -> dg.RunRequest:
    """The run to start, with the inputs of the one that failed."""
    inputs = _inputs(run)
    if launch.job == RECOVER:
        config: dict[str, Json] = {"ops": {_STEPS: {"config": {"of": run.run_id, "inputs": inputs}}}}
    elif launch.job == run.job_name:
        config = inputs
    else:
        config = fitting(find(launch.job).pipeline, inputs)
    return dg.RunRequest(run_key=launch.key, run_config=config, tags=dict(launch.tags), job_name=launch.job)


def recover_job(settings: Settings, known: Known, executor: dg.ExecutorDefinition, finish: Finish) -> dg.JobDefinition:
    """The job that runs any document derived from the pipeline of a run that failed, and no other."""

    @dg.op(
        name=_STEPS,
        config_schema={"of": str, "inputs": dict},
        required_resource_keys={RUN},
        description="All steps of the derived document, in program order.",
    )
    def steps(context: dg.OpExecutionContext) -> None:
        context.add_output_metadata(_whole(opened(getattr(context.resources, RUN)), context.log.info, finish))

    @dg.resource(description="The run of the derived document.")
    def resource(context: dg.InitResourceContext) -> Iterator[Run | Unopened]:
        try:
            run = _derived_run(context, settings, known)
        except ElexirionError as error:
            yield Unopened(error)
            return
        try:
            yield run
        finally:
            run.close()

    @dg.job(
        name=RECOVER,
        description="Goes on with a failed run as a document that was derived from its pipeline.",
        resource_defs={RUN: resource},
        executor_def=executor,
    )
    def job() -> None:
        steps()

    return job


def _derived_run(context: dg.InitResourceContext, settings: Settings, known: Known) -> Run:
    """The run of the document that the config names, which must be what was derived for that failed run."""
    if context.run is None:
        raise dg.DagsterInvariantViolationError("a document runs as a Dagster run")
    given: dict[str, Json] = dict(context.run.run_config)
    config = given["ops"][_STEPS]["config"]
    home, root_run = open_home(settings.home), root_of(context.run)
    loaded, change = verified(home, config["of"], past(home, root_run), finder(known()))
    info = info_of(context, Wanted(loaded.pipeline, loaded.pipelines, config["inputs"], None))
    tags = {**info.tags, RECOVERY_TAG: config["of"], CHANGE_TAG: change.model_dump_json(exclude_unset=True)}
    return Run(loaded.pipeline, replace(info, tags=tags), settings, pipelines=loaded.pipelines)


def _whole(run: Run, listen: Callable[[str], None], finish: Finish) -> dict[str, Any]:
    """Run every step in program order; returns metadata. Raises dg.Failure with the cause of the first that failed."""
    results: dict[str, StepResult] = {}
    try:
        for step in run.pipeline.steps:
            result = StepResult.from_json(run.step(step, results, listen=listen).to_json())
            results[step.name] = result
            if result.status == "failed" and not step.continue_on_error:
                raise step_failure(step.name, result, of_result(result))
        outputs = run.outputs(results) if run.pipeline.outputs else {}
        return {**of_outputs(outputs), **finish(run, outputs)}
    except Cancelled as error:
        raise DagsterExecutionInterruptedError from error
    except ElexirionError as error:
        raise failure(error) from error
