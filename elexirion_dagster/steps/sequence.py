"""Steps one after the other inside a composite."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from elexirion_dagster.records import Json, Status, StepError, StepResult, Usage
from elexirion_dagster.spec.steps import Step
from elexirion_dagster.steps.context import Scope, StepContext, view


@dataclass(frozen=True, slots=True)
class Sequel:
    """What a sequence of steps came to."""

    status: Status
    views: Mapping[str, Json]
    last: StepResult | None
    error: StepError | None
    reason: str | None
    cost_usd: float | None
    usage: Usage | None
    vars: Mapping[str, Json]


def run_sequence(steps: Sequence[Step], ctx: StepContext, *, suffix: str, scope: Scope) -> Sequel:
    """Run steps in order until one fails; each sees the results and variables of those before it."""
    outer, variables = scope["steps"], dict(scope["vars"])
    views: dict[str, Json] = {}
    results: list[StepResult] = []
    assigned: dict[str, Json] = {}
    for step in steps:
        ctx.go_on()
        here = {**scope, "steps": {**outer, **views}, "vars": variables}
        result = ctx.run_step(step, ctx.inside(suffix, step.name, here))
        views[step.name] = view(result)
        results.append(result)
        variables.update(result.vars)
        assigned.update(result.vars)
        if result.status == "failed" and not step.continue_on_error:
            break
    return _sequel(steps, results, views, assigned)


def _sequel(
    steps: Sequence[Step], results: Sequence[StepResult], views: Mapping[str, Json], assigned: Mapping[str, Json]
) -> Sequel:
    failed = [
        result
        for step, result in zip(steps, results, strict=False)
        if result.status == "failed" and not step.continue_on_error
    ]
    skipped = bool(results) and all(result.status == "skipped" for result in results)
    status: Status = "succeeded"
    if failed:
        status = "failed"
    elif skipped:
        status = "skipped"
    elif any(result.status == "degraded" for result in results):
        status = "degraded"
    return Sequel(
        status=status,
        views=views,
        last=results[-1] if results else None,
        error=failed[0].error if failed else None,
        reason=results[0].reason if skipped else None,
        cost_usd=add_costs([result.cost_usd for result in results if result.status != "skipped"]),
        usage=add_usage([result.usage for result in results]),
        vars=assigned,
    )


def add_costs(costs: Sequence[float | None]) -> float | None:
    """The sum, or None when one of them is unknown."""
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None


def add_usage(usages: Sequence[Usage | None]) -> Usage | None:
    """The sum of what was measured, or None when nothing was."""
    known = [usage for usage in usages if usage is not None]
    return sum(known[1:], known[0]) if known else None


def with_inner(result: StepResult, sequel: Sequel) -> StepResult:
    """A composite's result with status, error, cost and variables of the sequence it ran."""
    return replace(
        result,
        status=sequel.status,
        error=sequel.error,
        reason=sequel.reason,
        cost_usd=sequel.cost_usd,
        usage=sequel.usage,
        vars=sequel.vars,
    )
