"""What stands in when a model call failed for good; the step is then degraded, never succeeded."""

import json
from dataclasses import replace

from elexirion_dagster.errors import Cancelled, ElexirionError, InputError, StorageError
from elexirion_dagster.prompting.parse import parse
from elexirion_dagster.records import Json, StepError, StepResult
from elexirion_dagster.spec.conversation import Fallback
from elexirion_dagster.spec.llm import LlmStep
from elexirion_dagster.spec.steps import Step
from elexirion_dagster.steps.answers.asking import Asking
from elexirion_dagster.steps.answers.question import simpler
from elexirion_dagster.steps.context import StepContext
from elexirion_dagster.steps.sequence import add_costs, add_usage


def stood_in(step: Step, ctx: StepContext, result: StepResult) -> StepResult:
    """The result, or the step's fallback in place of a failure that no further attempt will mend.

    A spent budget asks no further question, but takes a fixed answer. When the fallback fails too, the first failure
    counts.
    """
    if not isinstance(step, LlmStep) or step.fallback is None or result.error is None:
        return result
    if step.fallback.prompt is not None and result.error.cause == "budget_exceeded":
        return result
    try:
        other = _other(step, step.fallback, ctx)
    except (Cancelled, StorageError):
        raise
    except ElexirionError as error:
        other = StepResult("failed", error=ctx.told(error))
    return _degraded(result, result.error, other)


def _other(step: LlmStep, fallback: Fallback, ctx: StepContext) -> StepResult:
    if fallback.prompt is None:
        return _fixed(step, ctx, fallback.answer)
    models = ctx.shared.pins.models(step.model)
    return Asking(simpler(step, ctx, models, fallback.prompt), ctx, repairs=0).result()


def _fixed(step: LlmStep, ctx: StepContext, template: Json) -> StepResult:
    """The answer that the step itself gives."""
    answer = ctx.shared.redactor.tree(ctx.evaluate(template))
    schema = step.output_schema()
    try:
        data = answer if schema is None else parse(json.dumps(answer), schema)
    except ElexirionError as error:
        raise InputError(f"the fallback answer of {ctx.path} does not fit its output: {error.message}") from error
    if isinstance(answer, str):
        return StepResult("degraded", text=answer)
    return StepResult("degraded", data=data, text=json.dumps(answer, ensure_ascii=False))


def _degraded(failed: StepResult, error: StepError, other: StepResult) -> StepResult:
    whole = replace(
        failed,
        cost_usd=add_costs([failed, other]),
        usage=add_usage([failed, other]),
        metadata={**failed.metadata, **other.metadata},
    )
    if other.error is not None:
        message = f"{error.message}; the fallback failed too: {other.error.message}"
        return replace(whole, error=replace(error, message=message))
    reason = f"fallback after {error.cause}: {error.message}"
    return replace(whole, status="degraded", data=other.data, text=other.text, error=None, reason=reason)
