"""The sensor that recovers failed runs, and what a worker does for its own run when that failed."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import dagster as dg
from dagster._core.events import DagsterEventType
from dagster._core.scheduler.instigation import InstigatorType

from elexirion_dagster.compiler.derived_job import Known
from elexirion_dagster.compiler.ends import record_end, root_of
from elexirion_dagster.compiler.failed_runs import failed_run, is_recoverable, request
from elexirion_dagster.compiler.kept import kept_instance
from elexirion_dagster.compiler.parts import split_run
from elexirion_dagster.compiler.sensors import AT_WORK, reap
from elexirion_dagster.compiler.starting import SENSOR, can_copy, start_copy
from elexirion_dagster.compiler.waits import Cursor, next_look
from elexirion_dagster.errors import ElexirionError, InputError, StorageError
from elexirion_dagster.recovery.decide import Find
from elexirion_dagster.recovery.plan import Failed, Launch, Plan
from elexirion_dagster.recovery.recover import alone, finder, is_taken_over, put_together, recover
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.accounts.gates import Gates
from elexirion_dagster.store.accounts.ledger_file import LedgerFile
from elexirion_dagster.store.home import open_home
from elexirion_dagster.tags import PIPELINE_TAG

_BATCH = 200
_AGAIN_S = 15.0
_WATCH_S, _LOOK_S = 4.0, 0.5
"""How long a tick that finds nothing goes on looking, and how often: Dagster begins one every five seconds."""
_End = Literal[DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_SUCCESS]
_FAILURE: Literal[DagsterEventType.RUN_FAILURE] = DagsterEventType.RUN_FAILURE
_SUCCESS: Literal[DagsterEventType.RUN_SUCCESS] = DagsterEventType.RUN_SUCCESS


def recovery_sensor(
    settings: Settings, known: Known, jobs: Sequence[dg.JobDefinition], *, watch_s: float = _WATCH_S
) -> dg.SensorDefinition:
    """Starts what a failed run's pipeline says under `fallback`, or the default policy; all new failures in one tick.

    Begins with the failures from now on. A plan is in the journal before its runs are asked for, and each run has a
    key: a daemon that dies in between asks again for the same runs, which Dagster starts once. A tick that finds
    nothing goes on looking for `watch_s` seconds. Where a run was split and all parts are done, the whole is started.
    """
    names = frozenset(job.name for job in jobs)
    waiting: dict[str, Plan] = {}  # what the journal says about the runs that wait, read once

    @dg.sensor(
        name=SENSOR,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Recovers failed runs by the cause of their failure.",
        jobs=jobs,
    )
    def recover_runs(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        cursor = Cursor.of(context.cursor, lambda: _newest(context, _FAILURE), lambda: _newest(context, _SUCCESS))
        runs, wholes = _awaited(context, cursor, watch_s)
        files = known()
        tick = _Tick(context, cursor, settings, files, finder(files, names), waiting)
        requests = [one for run in wholes for one in tick.whole(run)]
        requests += [one for run in runs for one in tick.recovered(run)]
        skip = None if requests else f"{', '.join(tick.told) or 'no new failures'}; {len(cursor.waiting)} wait"
        return dg.SensorResult(run_requests=requests, skip_reason=skip, cursor=cursor.text())

    return recover_runs


@dataclass(frozen=True, slots=True)
class _Tick:
    """What one look decides with; `told` is what it says of the runs that it decided about."""

    context: dg.SensorEvaluationContext
    cursor: Cursor
    settings: Settings
    files: Mapping[str, Path]
    find: Find
    waiting: dict[str, Plan]
    told: list[str] = field(default_factory=list)

    def recovered(self, run: dg.DagsterRun) -> list[dg.RunRequest]:
        """The runs to start after this one failed; one that cannot be recovered must not hold up those after it."""
        try:
            known = self.waiting.pop(run.run_id, None)
            plan = known or self._decided(run)
            again_at = self._again_at(plan)
            self.told.append(f"{run.run_id}: {plan.action}")
            if again_at is None:
                taken_over = plan.launches and is_taken_over(open_home(self.settings.home), root_of(run), run.run_id)
                return [] if taken_over else self._started(run, plan.launches)
            self.cursor.waiting[run.run_id] = again_at
            if plan.awaits:  # looked at often, and the journal says the same each time
                self.waiting[run.run_id] = plan
            if known is None:
                kept_instance(self.context).report_engine_event(f"recovery waits: {plan.reason}", run)
        except StorageError as error:  # a full disk: nothing could be decided, so it is asked again
            self.cursor.waiting[run.run_id] = time.time() + _AGAIN_S
            self.told.append(f"{run.run_id}: {error}")
        except ElexirionError as error:
            self.context.log.error("run %s is not recovered: %s", run.run_id, error)  # noqa: TRY400 - said in words
        return []

    def whole(self, run: dg.DagsterRun) -> list[dg.RunRequest]:
        """The run that does once what follows the items of a split run; none where its pipeline is another by now."""
        try:
            return self._started(run, [put_together(self._failed(run), self.settings, self.find)])
        except ElexirionError as error:
            words = "the parts of run %s are not put together: %s"
            self.context.log.error(words, run.run_id, error)  # noqa: TRY400 - said in words
        return []

    def _failed(self, run: dg.DagsterRun) -> Failed:
        return failed_run(kept_instance(self.context), run, self.settings)

    def _decided(self, run: dg.DagsterRun) -> Plan:
        return recover(self._failed(run), self.settings, self.files, self.find)

    def _again_at(self, plan: Plan) -> float | None:
        """When to look at the plan again; None: its runs start now."""
        if not plan.awaits:
            return next_look(plan, self.cursor, lambda _: None, time.time())
        with closing(LedgerFile(open_home(self.settings.home))) as ledger:
            return next_look(plan, self.cursor, Gates(ledger).look, time.time())

    def _started(self, run: dg.DagsterRun, launches: Sequence[Launch]) -> list[dg.RunRequest]:
        """Start copies of the run at once; those of other jobs are for the daemon to start."""
        instance = kept_instance(self.context)
        requests = [(launch, request(run, launch, self.find, self.settings)) for launch in launches]
        start_copies(instance, self.settings, run, requests)
        return [wanted for launch, wanted in requests if not can_copy(instance, run, launch)]


def start_copies(
    instance: dg.DagsterInstance,
    settings: Settings,
    run: dg.DagsterRun,
    requests: Sequence[tuple[Launch, dg.RunRequest]],
) -> None:
    """Start those of the runs that go on with this one in the same job, each once whoever tries."""
    copies = [(launch, wanted) for launch, wanted in requests if can_copy(instance, run, launch)]
    if copies:
        with alone(open_home(settings.home), root_of(run)):
            for launch, wanted in copies:
                start_copy(instance, run, launch, wanted.run_config)


def recover_now(instance: dg.DagsterInstance, run_id: str, settings: Settings, known: Mapping[str, Path]) -> None:
    """Recover a run that just failed, or lost its worker, as far as that needs neither daemon nor code server.

    The sensor looks at every failure as well: what waits, or runs another job, or was not done here, it does.
    """
    run = instance.get_run_by_id(run_id)
    if run is not None and run.status in AT_WORK and reap(instance, run):
        run = instance.get_run_by_id(run_id)
        if run is not None and PIPELINE_TAG in run.tags:
            record_end(instance, run, settings)
    if run is None or run.status is not dg.DagsterRunStatus.FAILURE or not is_recoverable(run) or _is_off(instance):
        return
    failed, find = failed_run(instance, run, settings), finder(known)
    rules = find(failed.pipeline).pipeline.fallback
    if any(rule.run is not None and failed.cause in rule.on for rule in rules):
        return  # which other pipelines can be run, the code server knows
    plan = recover(failed, settings, known, find)
    if not plan.awaits and (plan.due_at is None or plan.due_at <= time.time()):
        requests = [(launch, request(run, launch, find, settings)) for launch in plan.launches]
        start_copies(instance, settings, run, requests)


def _is_off(instance: dg.DagsterInstance) -> bool:
    """Whether somebody has stopped the sensor, and so recovery."""
    states = instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
    return any(state.instigator_name == SENSOR and not state.is_running for state in states)


def _newest(context: dg.SensorEvaluationContext, end: _End) -> int:
    """The storage id of the last event of this kind."""
    newest = kept_instance(context).fetch_run_status_changes(end, 1).records
    return newest[0].storage_id if newest else 0


def _awaited(
    context: dg.SensorEvaluationContext, cursor: Cursor, watch_s: float
) -> tuple[list[dg.DagsterRun], list[dg.DagsterRun]]:
    """The failed runs to do something about, and the split ones of which all parts are done; waits a while for one.

    Each run once: two processes may have failed a run at the same moment, and a tick must not ask twice for one key.
    """
    deadline = time.monotonic() + watch_s
    while True:
        runs = {run.run_id: run for run in (*_due(context, cursor), *_failed(context, cursor))}
        wholes = [*_put_together(context, cursor)]
        if runs or wholes or time.monotonic() + _LOOK_S > deadline:
            return [*runs.values()], wholes
        time.sleep(_LOOK_S)


def _due(context: dg.SensorEvaluationContext, cursor: Cursor) -> Iterator[dg.DagsterRun]:
    """The failed runs whose recoveries have waited long enough."""
    for run_id in cursor.due():
        del cursor.waiting[run_id]
        run = kept_instance(context).get_run_by_id(run_id)
        if run is not None:
            yield run


def _failed(context: dg.SensorEvaluationContext, cursor: Cursor) -> Iterator[dg.DagsterRun]:
    """The runs of pipelines that failed since; those of a terminal are their person's."""
    for storage_id, run in _ended(context, _FAILURE, cursor.after):
        cursor.after = storage_id
        if run is not None and is_recoverable(run):
            yield run


def _put_together(context: dg.SensorEvaluationContext, cursor: Cursor) -> Iterator[dg.DagsterRun]:
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
