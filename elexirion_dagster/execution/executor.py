"""Ready ops as threads of the run's own process: the executor of every job here.

Dagster's default executor starts an interpreter per op (about four seconds each). This one keeps Dagster's own
bookkeeping (ActiveExecution: order, retries, failures, skips, pools) and only runs what is ready at the same time.
"""

import os
import queue
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.events import DagsterEvent, EngineEventData
from dagster._core.execution.api import ExecuteRunWithPlanIterable
from dagster._core.execution.compute_logs import create_compute_log_file_key, redirect_to_file
from dagster._core.execution.context.system import PlanExecutionContext, PlanOrchestrationContext, StepExecutionContext
from dagster._core.execution.context_creation_job import PlanExecutionContextManager
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.execute_plan import _trigger_hook, dagster_event_sequence_for_step
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.base import Executor
from dagster._core.executor.init import InitExecutorContext
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._utils.error import serializable_error_info_from_exc_info

from elexirion_dagster.execution.workers import WORKERS, claimed

MAX_CONCURRENT = 16
RUN_RESOURCE = "run"
"""Key of the resource whose `cancel()` ends what the ops of a run have under way."""
_WAKE_S = 0.5
"""Longest pause between two looks at interrupts and due retries."""
_STATUS_S = 2.0
"""Between two looks at whether the instance has the run marked for cancelling (1 ms each, measured)."""
_STOPPING = (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)

_Item = tuple[str, DagsterEvent | None, BaseException | None]


@runtime_checkable
class Cancellable(Protocol):
    """What the run's resource can do."""

    def cancel(self) -> None:
        """End soon whatever is under way."""


class ThreadExecutor(Executor):
    """Runs up to `max_concurrent` ops at once as threads."""

    def __init__(self, max_concurrent: int) -> None:
        self._max_concurrent = max_concurrent

    @property
    def retries(self) -> RetryMode:
        """Op retries are handled here, in process."""
        return RetryMode.ENABLED

    def execute(self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan) -> Iterator[DagsterEvent]:
        """Run the plan; events come in the order in which they happened."""
        steps = execution_plan.step_keys_to_execute
        message = f"Executing ops as threads of process {os.getpid()}, {self._max_concurrent} at most"
        yield DagsterEvent.engine_event(plan_context, message, EngineEventData.in_process(os.getpid(), steps))
        ops = ExecuteRunWithPlanIterable(
            execution_plan=execution_plan,
            iterator=partial(_iterate, max_concurrent=self._max_concurrent),
            execution_context_manager=PlanExecutionContextManager(
                job=plan_context.job,
                retry_mode=plan_context.retry_mode,
                execution_plan=execution_plan,
                run_config=plan_context.run_config,
                dagster_run=plan_context.dagster_run,
                instance=plan_context.instance,
                raise_on_error=plan_context.raise_on_error,
                output_capture=plan_context.output_capture,
            ),
        )
        try:
            yield from ops
        except DagsterExecutionInterruptedError:  # while the run's resources are opened, too
            _mark_canceling(plan_context.instance, plan_context.run_id)
            raise


@dg.executor(
    name="threads",
    config_schema={"max_concurrent": dg.Field(int, is_required=False, default_value=MAX_CONCURRENT)},
)
def thread_executor(init_context: InitExecutorContext) -> Executor:
    """Ready ops as threads of the run's process."""
    return ThreadExecutor(cast("int", init_context.executor_config["max_concurrent"]))


def _iterate(
    job_context: PlanExecutionContext, execution_plan: ExecutionPlan, *, max_concurrent: int
) -> Iterator[DagsterEvent]:
    with ExitStack() as stack:
        yield from _capture_logs(stack, job_context, execution_plan)
        concurrency = stack.enter_context(InstanceConcurrencyContext(job_context.instance, job_context.dagster_run))
        active = stack.enter_context(
            execution_plan.start(
                retry_mode=job_context.retry_mode,
                max_concurrent=max_concurrent,
                instance_concurrency_context=concurrency,
                step_dependency_config=job_context.step_dependency_config,
            )
        )
        pool = stack.enter_context(ThreadPoolExecutor(max_concurrent, thread_name_prefix="elexirion-op"))
        yield from _Loop(job_context, active, pool, max_concurrent).events()


def _capture_logs(stack: ExitStack, job_context: PlanExecutionContext, plan: ExecutionPlan) -> Iterator[DagsterEvent]:
    """Keep what the ops print, where the instance wants it; a failure to do so does not fail the run.

    In the user's terminal it stays there: Dagster's helpers of the capture would answer Ctrl-C with tracebacks.
    """
    if is_of_terminal(job_context.instance, job_context.run_id):
        return
    logs = job_context.instance.compute_log_manager
    key = logs.build_log_key_for_run(job_context.run_id, create_compute_log_file_key())  # type: ignore[no-untyped-call]
    try:
        context = stack.enter_context(
            _kept(logs, key) if type(logs) is LocalComputeLogManager else logs.capture_logs(key)
        )
    except Exception:  # noqa: BLE001 - told in the run's own log
        error = serializable_error_info_from_exc_info(sys.exc_info())
        message = "What the ops print cannot be kept"
        yield DagsterEvent.engine_event(job_context, message, EngineEventData(error=error))
    else:
        yield DagsterEvent.capture_logs(job_context, plan.step_keys_to_execute, key, context)


@contextmanager
def _kept(logs: LocalComputeLogManager, key: Sequence[str]) -> Iterator[CapturedLogContext]:
    """Capture as Dagster does, without the four processes per run that would show it in a terminal as well."""
    with ExitStack() as stack:
        for stream, kind in ((sys.stdout, ComputeIOType.STDOUT), (sys.stderr, ComputeIOType.STDERR)):
            path = logs.get_captured_local_path(key, IO_TYPE_EXTENSION[kind])
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(redirect_to_file(stream, path))
        yield CapturedLogContext(key)
    Path(logs.complete_artifact_path(key)).touch()  # type: ignore[no-untyped-call]


def is_of_terminal(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the run works in the user's terminal: `elexirion run` and `resume` claim theirs as such."""
    return not instance.is_ephemeral and claimed(Path(instance.root_directory) / WORKERS, run_id) == "terminal"


def _mark_canceling(instance: dg.DagsterInstance, run_id: str) -> None:
    """Note that a signal from the terminal of the run or of `elexirion up` asks to cancel; Dagster expects a crash."""
    run = instance.get_run_by_id(run_id)
    if run is not None and run.status not in _STOPPING:
        instance.report_run_canceling(run)


class _Loop:
    """The ops of one run while they run."""

    def __init__(
        self, job_context: PlanExecutionContext, active: ActiveExecution, pool: ThreadPoolExecutor, limit: int
    ) -> None:
        self._job_context = job_context
        self._active = active
        self._pool = pool
        self._limit = limit
        self._queue: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._running: set[str] = set()
        self._interrupted = False
        self._next_look = time.monotonic() + _STATUS_S

    def events(self) -> Iterator[DagsterEvent]:
        """Run until every op has come to its end; whatever breaks the loop also ends what is under way."""
        try:
            yield from self._until_done()
        except BaseException:
            self._end_running()
            raise

    def _until_done(self) -> Iterator[DagsterEvent]:
        while self._running or not (self._interrupted or self._active.is_complete):
            if not self._interrupted and self._told_to_stop():
                yield from self._interrupt()
            if not self._interrupted:
                self._start_ready()
                yield from self._active.concurrency_event_iterator(self._job_context)
                yield from self._active.plan_events_iterator(self._job_context)
            yield from self._next_event()
        if self._interrupted:
            raise DagsterExecutionInterruptedError

    def _told_to_stop(self) -> bool:
        """Whether a signal came, or the run was marked in the UI, which cannot signal a run of a terminal."""
        if self._active.check_for_interrupts():
            return True
        if time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + _STATUS_S
        run = self._job_context.instance.get_run_by_id(self._job_context.run_id)
        return run is not None and run.status in _STOPPING

    def _interrupt(self) -> Iterator[DagsterEvent]:
        """Start nothing more and end what is under way."""
        self._interrupted = True
        self._active.mark_interrupted()
        message = "Told to stop: ending what the ops have under way"
        yield DagsterEvent.engine_event(self._job_context, message, EngineEventData.interrupted(sorted(self._running)))
        _mark_canceling(self._job_context.instance, self._job_context.run_id)
        self._end_running()

    def _end_running(self) -> None:
        """Tell the run's resource to end what the ops have under way."""
        resource = self._job_context.scoped_resources_builder.resource_instance_dict.get(RUN_RESOURCE)
        if isinstance(resource, Cancellable):
            resource.cancel()

    def _start_ready(self) -> None:
        free = self._limit - len(self._running)
        for step in self._active.get_steps_to_execute(limit=free) if free > 0 else ():
            self._running.add(step.key)
            context = self._job_context.for_step(step, self._active.get_known_state())
            self._pool.submit(self._work, step.key, context)

    def _work(self, key: str, context: StepExecutionContext) -> None:
        """Run one op and then its hooks, in a thread."""
        told: list[DagsterEvent] = []
        try:
            for event in dagster_event_sequence_for_step(context):
                told.append(event)
                self._queue.put((key, event, None))
            for event in _trigger_hook(context, told):
                self._queue.put((key, event, None))
        except BaseException as error:  # noqa: BLE001 - raised again by the loop
            self._queue.put((key, None, error))
        else:
            self._queue.put((key, None, None))

    def _next_event(self) -> Iterator[DagsterEvent]:
        """Wait for the next event of a running op, or a moment."""
        try:
            key, event, error = self._queue.get(timeout=_WAKE_S)
        except queue.Empty:
            return
        if event is not None:
            yield event
            self._active.handle_event(event)
            return
        self._running.discard(key)
        if error is not None and not (self._interrupted or isinstance(error, DagsterExecutionInterruptedError)):
            raise error
        self._active.verify_complete(self._job_context, key)
