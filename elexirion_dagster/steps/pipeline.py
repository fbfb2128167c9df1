"""Run another pipeline: inputs in, outputs out, its scope its own."""

import time
from collections.abc import Mapping
from dataclasses import replace
from graphlib import TopologicalSorter

from elexirion_dagster.errors import Cancelled, ElexirionError, StorageError
from elexirion_dagster.inputs import complete_inputs, granted
from elexirion_dagster.records import Json, StepResult, dollars
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.steps import PipelineStep
from elexirion_dagster.steps.children import Child
from elexirion_dagster.steps.context import Scope, Shared, StepContext, View, view
from elexirion_dagster.steps.scoring import record_scores
from elexirion_dagster.steps.sequence import sequel_of, with_inner


def run(step: PipelineStep, ctx: StepContext) -> StepResult:
    """Run every step of the pipeline; `data` is its outputs, or those that this step asks for."""
    child = ctx.shared.children.of(step)
    _check_depth(step, child, ctx)
    given = complete_inputs(child.pipeline, ctx.evaluate(step.inputs))
    inside = _inside(child, given, ctx)
    return _UnderWay(step, child, inside).result()


def _check_depth(step: PipelineStep, child: Child, ctx: StepContext) -> None:
    name = child.pipeline.name
    if child.named and ctx.shared.under_way.count(name) >= step.max_depth:
        times = "is under way already" if step.max_depth == 1 else f"is under way {step.max_depth} times already"
        raise ElexirionError(
            f"{ctx.path} would run {name}, which {times}",
            cause="max_turns",
            mend="Raise max_depth, or end the recursion earlier with `when`.",
        )


def _inside(child: Child, inputs: Mapping[str, Json], ctx: StepContext) -> StepContext:
    """The context of the pipeline's steps: its own scope and words for models, retries and limits."""
    pipeline, outer = child.pipeline, ctx.shared
    scope = {
        "inputs": inputs,
        "steps": {},
        "vars": {},
        "run": {**ctx.scope["run"], "pipeline": pipeline.name},
        **({"env": outer.pins.env(pipeline)} if pipeline.env else {}),
    }
    return replace(
        ctx,
        names=() if child.named else ctx.names,
        scope=scope,
        shared=_shared(child, inputs, ctx),
        allowance=ctx.allowance.under(f"pipeline:{ctx.shared.root_run}:{ctx.path}", pipeline.budget),
        deadline=_deadline(pipeline, ctx.deadline),
    )


def _shared(child: Child, inputs: Mapping[str, Json], ctx: StepContext) -> Shared:
    pipeline, outer = child.pipeline, ctx.shared
    places = [ctx.readable(str(place)) for place in granted(pipeline, inputs)]
    budget, threads = pipeline.budget, pipeline.limits.threads
    return replace(
        outer,
        pins=outer.pins.inside(pipeline, named=child.named),
        retry=pipeline.retry if "retry" in pipeline.model_fields_set else outer.retry,
        threads=outer.threads if threads is None else outer.threads.within(threads),
        granted=(*places, outer.workspace),
        ceiling=outer.ceiling if budget.usd is None else f"at most {dollars(budget.usd)}",
        inside=ctx.path,
        under_way=(*outer.under_way, pipeline.name) if child.named else outer.under_way,
    )


def _deadline(pipeline: Pipeline, outer: float | None) -> float | None:
    if pipeline.budget.seconds is None:
        return outer
    own = time.monotonic() + pipeline.budget.seconds
    return own if outer is None else min(own, outer)


class _UnderWay:
    """A pipeline while its steps run: each as soon as those before it in the graph are done, wave by wave."""

    def __init__(self, step: PipelineStep, child: Child, ctx: StepContext) -> None:
        self._step = step
        self._child = child
        self._ctx = ctx
        self._steps = child.pipeline.steps
        self._results: dict[str, StepResult] = {}
        self._views: dict[str, View] = {}

    def result(self) -> StepResult:
        """The whole; what went wrong with its outputs does not hide what its steps cost."""
        self._run()
        record_scores(self._child.pipeline, self._seen(), self._ctx.shared, prefix=f"{self._ctx.path}.")
        done = [step for step in self._steps if step.name in self._results]
        views = {step.name: self._views[step.name] for step in done}
        sequel = sequel_of(done, [self._results[step.name] for step in done], views, {})
        whole = with_inner(StepResult("succeeded", metadata={"pipeline": self._child.pipeline.name}), sequel)
        if whole.status in ("failed", "skipped"):
            return whole
        try:
            return replace(whole, data=self._outputs())
        except (Cancelled, StorageError):
            raise
        except ElexirionError as error:
            return replace(whole, status="failed", error=self._ctx.told(error), reason=None)

    def _run(self) -> None:
        position = {step.name: index for index, step in enumerate(self._steps)}
        sorter = TopologicalSorter(self._child.graph)
        sorter.prepare()
        while sorter.is_active() and not self._failed():
            ready = sorted(sorter.get_ready(), key=position.__getitem__)
            self._ctx.shared.threads.each(self._work, [position[name] for name in ready], max_parallel=len(ready))
            sorter.done(*ready)
            failed = sum(result.status == "failed" for result in self._results.values())
            self._ctx.shared.progress(self._ctx.path, len(self._results), failed, len(self._steps), None)

    def _failed(self) -> bool:
        ends = {step.name for step in self._steps if not step.continue_on_error}
        return any(name in ends and result.status == "failed" for name, result in self._results.items())

    def _work(self, index: int) -> None:
        step = self._steps[index]
        scope = self._scope(self._child.graph[step.name])
        result = self._ctx.run_step(step, self._ctx.inside("", (step.name,), scope))
        self._views[step.name] = view(result)
        self._results[step.name] = result

    def _scope(self, before: tuple[str, ...]) -> Scope:
        """What templates see after these steps, which stand in program order."""
        return {
            **self._ctx.scope,
            "steps": {name: self._views[name] for name in before},
            "vars": {name: value for step in before for name, value in self._results[step].vars.items()},
        }

    def _outputs(self) -> Json:
        wanted = self._child.pipeline.outputs if self._step.outputs is None else self._step.outputs
        shared = self._ctx.shared
        return shared.redactor.tree(shared.engine.evaluate_tree(dict(wanted), self._seen()))

    def _seen(self) -> Scope:
        """What templates see after all that was done."""
        return self._scope(tuple(step.name for step in self._steps if step.name in self._results))
