"""Assign variables."""

from elexirion_dagster.records import StepResult
from elexirion_dagster.spec.set import SetStep
from elexirion_dagster.steps.context import StepContext


def run(step: SetStep, ctx: StepContext) -> StepResult:
    """Evaluate every variable from the values as they stood before this step; `data` is the new values."""
    values = ctx.shared.redactor.tree(ctx.evaluate(step.vars))
    return StepResult("succeeded", data=values, vars=values)
