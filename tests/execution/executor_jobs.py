"""Jobs for test_executor.py; a module of their own because a reconstructable job is imported by name."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from elexirion_dagster.compiler.values import json_io_manager
from elexirion_dagster.execution.executor import thread_executor

PATIENCE_S = 20
calls: dict[str, int] = defaultdict(int)
both_there = threading.Barrier(2)
retried = threading.Event()
lock = threading.Lock()
busy: dict[str, int] = {"now": 0, "peak": 0}
crowd = threading.Semaphore(0)


def reset() -> None:
    calls.clear()
    both_there.reset()
    retried.clear()
    busy.update(now=0, peak=0)
    Hold.current = None


class Hold:
    """What an op waits for until it is cancelled; stands for a child process."""

    current: "Hold | None" = None

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.closed = False

    def cancel(self) -> None:
        self.cancelled.set()


@dg.resource
def hold(_context: dg.InitResourceContext) -> Iterator[Hold]:
    Hold.current = Hold()
    try:
        yield Hold.current
    finally:
        Hold.current.closed = True


@dg.resource
def unusable(_context: dg.InitResourceContext) -> Hold:
    raise FileNotFoundError("no such home")


@dg.op(ins={"after": dg.In(dg.Nothing)})
def meet() -> None:
    both_there.wait(PATIENCE_S)


@dg.op
def source() -> int:
    calls["source"] += 1
    return 20


@dg.op
def add(left: int, right: int) -> int:
    calls["add"] += 1
    return left + right


@dg.job(executor_def=thread_executor)
def overlap():
    before = source()
    meet.alias("left")(before)
    meet.alias("right")(before)


@dg.op(retry_policy=dg.RetryPolicy(max_retries=2, delay=0.05))
def flaky() -> int:
    calls["flaky"] += 1
    if calls["flaky"] < 3:
        raise ValueError("not yet")
    return 1


@dg.job(executor_def=thread_executor)
def retrying():
    add(flaky(), source())


@dg.op(retry_policy=dg.RetryPolicy(max_retries=1, delay=0.05))
def hopeless() -> None:
    calls["hopeless"] += 1
    raise ValueError("never")


@dg.job(executor_def=thread_executor)
def exhausted():
    hopeless()


@dg.op
def boom(number: int) -> int:
    calls["boom"] += 1
    if not Path("mended").exists():
        raise dg.Failure("broken", metadata={"cause": "command_failed"})
    return number + 1


@dg.op
def fine(number: int) -> int:
    calls["fine"] += 1
    return number + 2


@dg.op
def after(number: int) -> int:
    calls["after"] += 1
    return number


@dg.job(executor_def=thread_executor, resource_defs={"io_manager": json_io_manager})
def failing():
    number = source()
    well = after.alias("after_fine")(fine(number))
    add.alias("join")(after.alias("after_boom")(boom(number)), well)


@dg.op(out={"yes": dg.Out(int, is_required=False), "no": dg.Out(int, is_required=False)})
def choose():
    yield dg.Output(1, "yes")


@dg.op
def total(numbers: list[int]) -> int:
    return sum(numbers)


@dg.job(executor_def=thread_executor)
def choosing():
    yes, no = choose()
    total([after.alias("on_yes")(yes), after.alias("on_no")(no)])


@dg.op(out=dg.DynamicOut(int))
def several():
    for number in range(3):
        yield dg.DynamicOutput(number, mapping_key=str(number))


@dg.job(executor_def=thread_executor)
def mapping():
    total(several().map(after).collect())


@dg.op(retry_policy=dg.RetryPolicy(max_retries=1, delay=0.1))
def due() -> None:
    calls["due"] += 1
    if calls["due"] == 1:
        raise ValueError("try again")
    retried.set()


@dg.op
def steady() -> None:
    if not retried.wait(PATIENCE_S):
        raise TimeoutError("the retry did not begin while this op ran")


@dg.job(executor_def=thread_executor)
def waking():
    due()
    steady()


@dg.op
def counted() -> None:
    with lock:
        busy["now"] += 1
        busy["peak"] = max(busy["peak"], busy["now"])
    threading.Event().wait(0.05)
    with lock:
        busy["now"] -= 1


@dg.job(executor_def=thread_executor.configured({"max_concurrent": 2}, name="two_threads"))
def crowded():
    for number in range(8):
        counted.alias(f"op_{number}")()


@dg.op(pool="one_at_a_time")
def pooled() -> None:
    counted_fn = counted.compute_fn.decorated_fn  # type: ignore[union-attr]
    counted_fn()


@dg.job(executor_def=thread_executor)
def with_pool():
    for number in range(3):
        pooled.alias(f"op_{number}")()


@dg.success_hook
def on_success(context: dg.HookContext) -> None:
    with lock:
        calls[f"success:{context.op.name}"] += 1


@dg.failure_hook
def on_failure(context: dg.HookContext) -> None:
    with lock:
        calls[f"failure:{context.op.name}"] += 1


@dg.job(executor_def=thread_executor, hooks={on_success, on_failure})
def hooked():
    boom(source())


@dg.op(required_resource_keys={"run"})
def held(context: dg.OpExecutionContext) -> None:
    both_there.wait(PATIENCE_S)
    if not context.resources.run.cancelled.wait(PATIENCE_S):
        raise TimeoutError("nobody cancelled")


@dg.op(required_resource_keys={"run"})
def alone(context: dg.OpExecutionContext) -> None:
    if not context.resources.run.cancelled.wait(PATIENCE_S):
        raise TimeoutError("nobody cancelled")


@dg.job(executor_def=thread_executor, resource_defs={"run": hold})
def abandoned():
    alone()


@dg.op
def mark_cancelling(context: dg.OpExecutionContext) -> None:
    both_there.wait(PATIENCE_S)
    context.instance.report_run_canceling(context.run)


@dg.job(executor_def=thread_executor, resource_defs={"run": hold})
def marked():
    held()
    mark_cancelling()


@dg.op(required_resource_keys={"run"})
def idle() -> None:
    calls["idle"] += 1


@dg.job(executor_def=thread_executor, resource_defs={"run": unusable})
def unopened():
    idle()
