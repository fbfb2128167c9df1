"""Steps one after the other inside a composite."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from elexirion_dagster.records import Json, Status, StepError, StepResult, Usage
from elexirion_dagster.spec.steps import Step
from elexirion_dagster.steps.context import Scope, StepContext, view

_CALL = ("model", "prompt", "reply", "prompt_version", "shown_item")


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
    shown: Mapping[str, Json]
    """What the first step that asked a model shows of its call."""


def run_sequence(
    steps: Sequence[Step], ctx: StepContext, *, suffix: str, scope: Scope, names: tuple[str, ...] = ()
) -> Sequel:
    """Run steps in order until one fails; each sees the results and variables of those before it.

    `suffix` is what their paths have between this step and their own names, `names` the same without item keys.
    """
    outer, variables = scope["steps"], dict(scope["vars"])
    views: dict[str, Json] = {}
    results: list[StepResult] = []
    assigned: dict[str, Json] = {}
    for step in steps:
        here = {**scope, "steps": {**outer, **views}, "vars": dict(variables)}
        result = ctx.run_step(step, ctx.inside(suffix, (*names, step.name), here))
        views[step.name] = view(result)
        results.append(result)
        variables.update(result.vars)
        assigned.update(result.vars)
        if result.status == "failed" and not step.continue_on_error:
            break
    return sequel_of(steps, results, views, assigned)


def sequel_of(
    steps: Sequence[Step], results: Sequence[StepResult], views: Mapping[str, Json], assigned: Mapping[str, Json]
) -> Sequel:
    """What steps came to by their results, which stand in the order of the steps and may be fewer."""
    failed = [
        result
        for step, result in zip(steps, results, strict=False)
        if result.status == "failed" and not step.continue_on_error
    ]
    skipped = bool(results) and all(result.status == "skipped" for result in results)
    degraded = [result for result in results if result.status == "degraded"]
    status: Status = "succeeded"
    reason = None
    if failed:
        status = "failed"
    elif skipped:
        status, reason = "skipped", results[0].reason
    elif degraded:
        status, reason = "degraded", degraded[0].reason
    return Sequel(
        status=status,
        views=views,
        last=results[-1] if results else None,
        error=failed[0].error if failed else None,
        reason=reason,
        cost_usd=add_costs(results),
        usage=add_usage(results),
        vars=assigned,
        shown=next((_call(result) for result in results if "prompt" in result.metadata), {}),
    )


def _call(result: StepResult) -> dict[str, Json]:
    """Model, prompt and reply out of a step's metadata."""
    return {name: value for name, value in result.metadata.items() if name in _CALL}


class Spent(Protocol):
    """Anything that may have called models: usage None says that it did not."""

    @property
    def cost_usd(self) -> float | None:
        """Dollars, None where the price of one call is not known."""

    @property
    def usage(self) -> Usage | None:
        """Tokens, None where no model was called."""


def add_costs(parts: Iterable[Spent]) -> float | None:
    """The sum over those that called models; None when none did, or when the cost of one is not known."""
    costs = [part.cost_usd for part in parts if part.usage is not None]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known and len(known) == len(costs) else None


def add_usage(parts: Iterable[Spent]) -> Usage | None:
    """The sum of what was measured, or None when nothing was."""
    known = [part.usage for part in parts if part.usage is not None]
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
        metadata={**result.metadata, **sequel.shown},
    )
