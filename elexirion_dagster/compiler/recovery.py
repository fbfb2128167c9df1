"""The sensor that recovers failed runs, and the job that runs documents derived from their pipelines."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.events import DagsterEventType
from dagster._core.execution.stats import StepEventStatus

from elexirion_dagster.compiler.ends import how_it_ended, root_of
from elexirion_dagster.compiler.kept import kept_instance
from elexirion_dagster.compiler.metadata import of_outputs, of_result
from elexirion_dagster.compiler.ops import Finish, step_failure
from elexirion_dagster.compiler.parts import split_run
from elexirion_dagster.compiler.resources import RUN, Unopened, Wanted, failure, opened, opened_for
from elexirion_dagster.errors import Cancelled, ElexirionError, InputError, StorageError
from elexirion_dagster.inputs import without_secrets
from elexirion_dagster.records import Json, StepResult
from elexirion_dagster.recovery.candidates import verified
from elexirion_dagster.recovery.decide import LONGEST_PAUSE_S, Find, handed_on
from elexirion_dagster.recovery.plan import RECOVER, Failed, Launch
from elexirion_dagster.recovery.recover import finder, put_together, recover
from elexirion_dagster.redact import Redactor
from elexirion_dagster.run import Run
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.partitioning import BATCH
from elexirion_dagster.store.failures.recoveries import past
from elexirion_dagster.store.home import open_home
from elexirion_dagster.tags import CHANGE_TAG, CLI, PIPELINE_TAG, RECOVERY_TAG, SCAN_TAG, TRIGGER_TAG

_BATCH = 200
_AGAIN_S = 15.0
_WATCH_S, _LOOK_S = 4.0, 0.5
"""How long a tick that finds nothing goes on looking, and how often: Dagster begins one every five seconds."""
_End = Literal[DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_SUCCESS]
_FAILURE: Literal[DagsterEventType.RUN_FAILURE] = DagsterEventType.RUN_FAILURE
_SUCCESS: Literal[DagsterEventType.RUN_SUCCESS] = DagsterEventType.RUN_SUCCESS
_STEPS = "derived"
"""The one op of the job that runs derived documents."""
Known = Callable[[], Mapping[str, Path]]
"""The pipeline files there are now, by name."""


@dataclass(slots=True)
class _Cursor:
    """The last failure seen, the plans that wait (failed run to the moment from which they are due), the last success.

    Cursors of before have no `ended`.
    """

    after: int
    waiting: dict[str, float] = field(default_factory=dict)
    ended: int | None = None

    @classmethod
    def of(cls, context: dg.SensorEvaluationContext) -> Self:
        """What the last tick left; the newest failure and success there are on the first one."""
        cursor = cls(**json.loads(context.cursor)) if context.cursor else cls(_newest(context, _FAILURE))
        if cursor.ended is None:
            cursor.ended = _newest(context, _SUCCESS)
        return cursor

    def text(self) -> str:
        return json.dumps(asdict(self))


def _newest(context: dg.SensorEvaluationContext, end: _End) -> int:
    """The storage id of the last event of this kind."""
    newest = kept_instance(context).fetch_run_status_changes(end, 1).records
    return newest[0].storage_id if newest else 0


def recovery_sensor(
    settings: Settings, known: Known, jobs: Sequence[dg.JobDefinition], *, watch_s: float = _WATCH_S
) -> dg.SensorDefinition:
    """Starts what a failed run's pipeline says under `fallback`, or the default policy; all new failures in one tick.

    Begins with the failures from now on. A plan is in the journal before its runs are asked for, and each run has a
    key: a daemon that dies in between asks again for the same runs, which Dagster starts once. A tick that finds
    nothing goes on looking for `watch_s` seconds. Where a run was split and all parts are done, the whole is started.
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
        runs, wholes = _awaited(context, cursor, watch_s)
        files = known()
        tick = _Tick(context, cursor, settings, files, finder(files, names))
        requests = [request for run in wholes for request in tick.whole(run)]
        requests += [request for run in runs for request in tick.recovered(run)]
        skip = None if requests else f"{', '.join(tick.told) or 'no new failures'}; {len(cursor.waiting)} wait"
        return dg.SensorResult(run_requests=requests, skip_reason=skip, cursor=cursor.text())

    return recover_runs


@dataclass(frozen=True, slots=True)
class _Tick:
    """What one look decides with; `told` is what it says of the runs that it decided about."""

    context: dg.SensorEvaluationContext
    cursor: _Cursor
    settings: Settings
    files: Mapping[str, Path]
    find: Find
    told: list[str] = field(default_factory=list)

    def recovered(self, run: dg.DagsterRun) -> list[dg.RunRequest]:
        """The runs to start after this one failed; one that cannot be recovered must not hold up those after it."""
        try:
            plan = recover(_told(kept_instance(self.context), run, self.settings), self.settings, self.files, self.find)
            self.told.append(f"{run.run_id}: {plan.action}")
            if plan.due_at is not None and 0 < plan.due_at - time.time() <= LONGEST_PAUSE_S:
                self.cursor.waiting[run.run_id] = plan.due_at
                return []
            return [_request(run, launch, self.find, self.settings) for launch in plan.launches]
        except StorageError as error:  # a full disk: nothing could be decided, so it is asked again
            self.cursor.waiting[run.run_id] = time.time() + _AGAIN_S
            self.told.append(f"{run.run_id}: {error}")
        except ElexirionError as error:
            self.context.log.error("run %s is not recovered: %s", run.run_id, error)  # noqa: TRY400 - said in words
        return []

    def whole(self, run: dg.DagsterRun) -> list[dg.RunRequest]:
        """The run that does once what follows the items of a split run; none where its pipeline is another by now."""
        try:
            launch = put_together(_told(kept_instance(self.context), run, self.settings), self.settings, self.find)
            return [_request(run, launch, self.find, self.settings)]
        except ElexirionError as error:
            words = "the parts of run %s are not put together: %s"
            self.context.log.error(words, run.run_id, error)  # noqa: TRY400 - said in words
        return []


def _awaited(
    context: dg.SensorEvaluationContext, cursor: _Cursor, watch_s: float
) -> tuple[list[dg.DagsterRun], list[dg.DagsterRun]]:
    """The failed runs to do something about, and the split ones of which all parts are done; waits a while for one."""
    deadline = time.monotonic() + watch_s
    while True:
        runs, wholes = [*_due(context, cursor), *_failed(context, cursor)], [*_put_together(context, cursor)]
        if runs or wholes or time.monotonic() + _LOOK_S > deadline:
            return runs, wholes
        time.sleep(_LOOK_S)


def _due(context: dg.SensorEvaluationContext, cursor: _Cursor) -> Iterator[dg.DagsterRun]:
    """The failed runs whose recoveries have waited long enough; no wait is longer, but clocks are set back."""
    for run_id in [run for run, due in cursor.waiting.items() if not 0 < due - time.time() <= LONGEST_PAUSE_S]:
        del cursor.waiting[run_id]
        run = kept_instance(context).get_run_by_id(run_id)
        if run is not None:
            yield run


def _failed(context: dg.SensorEvaluationContext, cursor: _Cursor) -> Iterator[dg.DagsterRun]:
    """The runs of pipelines that failed since; those of a terminal are their person's."""
    for storage_id, run in _ended(context, _FAILURE, cursor.after):
        cursor.after = storage_id
        if run is not None and PIPELINE_TAG in run.tags and run.tags.get(TRIGGER_TAG) != CLI:
            yield run


def _put_together(context: dg.SensorEvaluationContext, cursor: _Cursor) -> Iterator[dg.DagsterRun]:
    """The runs that were split and of which the last part has ended well since."""
    found: dict[str, dg.DagsterRun] = {}
    for storage_id, run in _ended(context, _SUCCESS, cursor.ended or 0):
        cursor.ended = storage_id
        try:
            split = None if run is None else split_run(kept_instance(context), run)
        except InputError as error:  # tags that somebody wrote must not hold up the others
            context.log.warning("run %s is no part of another: %s", run.run_id if run else None, error)
            continue
        if split is not None:
            found[split.run_id] = split
    yield from found.values()


def _ended(context: dg.SensorEvaluationContext, end: _End, after: int) -> Iterator[tuple[int, dg.DagsterRun | None]]:
    """The runs that ended so since, each with the storage id of that event."""
    changes = kept_instance(context).fetch_run_status_changes(
        dg.RunStatusChangeRecordsFilter(end, after_storage_id=after), _BATCH, ascending=True
    )
    for change in changes.records:
        yield change.storage_id, kept_instance(context).get_run_by_id(change.event_log_entry.run_id)


def _told(instance: dg.DagsterInstance, run: dg.DagsterRun, settings: Settings) -> Failed:
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
    given = dict(config["ops"][_STEPS]["config"]["inputs"]) if run.job_name == RECOVER else config
    files = {BATCH: given[BATCH]} if BATCH in given and SCAN_TAG in run.tags else {}
    return {**without_secrets(given, Redactor(secrets=settings.secrets())), **files}


def _request(run: dg.DagsterRun, launch: Launch, find: Find, settings: Settings) -> dg.RunRequest:
    """The run to start, with the inputs of the one that failed."""
    inputs = _inputs(run, settings)
    if launch.job == RECOVER:
        config: dict[str, Json] = {"ops": {_STEPS: {"config": {"of": run.run_id, "inputs": inputs}}}}
    elif launch.job == run.job_name:
        config = inputs
    else:
        config = handed_on(find(run.tags[PIPELINE_TAG]).pipeline, find(launch.job).pipeline, inputs)
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
        yield from opened_for(context, settings, lambda: _derived(context, settings, known))

    @dg.job(
        name=RECOVER,
        description="Goes on with a failed run as a document that was derived from its pipeline.",
        resource_defs={RUN: resource},
        executor_def=executor,
    )
    def job() -> None:
        steps()

    return job


def _derived(context: dg.InitResourceContext, settings: Settings, known: Known) -> Wanted:
    """The document that the config names, which must be what was derived for that failed run."""
    if context.run is None:
        raise dg.DagsterInvariantViolationError("a document runs as a Dagster run")
    given: dict[str, Json] = dict(context.run.run_config)
    config = given["ops"][_STEPS]["config"]
    home = open_home(settings.home)
    loaded, change = verified(home, config["of"], past(home, root_of(context.run)), finder(known()))
    tags = {RECOVERY_TAG: config["of"], CHANGE_TAG: change.model_dump_json(exclude_unset=True)}
    return Wanted(loaded.pipeline, loaded.pipelines, config["inputs"], tags=tags)


def _whole(run: Run, listen: Callable[[str], None], finish: Finish) -> dict[str, Any]:
    """Run every step in program order; returns metadata. Raises dg.Failure with the cause of the first that failed."""
    results: dict[str, StepResult] = {}
    try:
        for step in run.pipeline.steps:
            result = StepResult.from_json(run.step(step, results, listen=listen).to_json())
            results[step.name] = result
            if result.status == "failed" and not step.continue_on_error:
                raise step_failure(step.name, result, of_result(result))
        if run.is_part:
            return {}
        outputs = run.outputs(results) if run.pipeline.outputs else {}
        return {**of_outputs(outputs), **finish(run, outputs)}
    except Cancelled as error:
        raise DagsterExecutionInterruptedError from error
    except ElexirionError as error:
        raise failure(error, run.redactor) from None
