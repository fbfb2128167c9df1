"""Ask a model: a question, a conversation or a task with tools, answered in text or in typed data."""

from dataclasses import replace

from elexirion_dagster.records import Message, StepResult, TextBlock
from elexirion_dagster.spec.llm import LlmStep
from elexirion_dagster.steps.answers.asking import Asking, echoed
from elexirion_dagster.steps.answers.question import Question, question
from elexirion_dagster.steps.answers.sample import sampled
from elexirion_dagster.steps.context import StepContext


def run(step: LlmStep, ctx: StepContext) -> StepResult:
    """One answer, or the most common of several; skipped when no model is configured."""
    models = ctx.shared.pins.models(step.model)
    if not models:
        return StepResult("skipped", reason=ctx.shared.pins.no_model)
    asked = question(step, ctx, models)
    session = step.conversation()
    if session is None:
        return _answer(asked, ctx, step.samples)
    lasting = session.scope == "pipeline"
    name = ctx.conversation(session.name)
    history = ctx.shared.sessions.history(ctx.path, name, lasting=lasting, max_tokens=session.max_tokens)
    result = _answer(replace(asked, history=history), ctx, step.samples)
    if result.status == "succeeded":
        said = [(turn.role, _redacted(turn, ctx)) for turn in asked.turns]
        turns = [*said, ("assistant", echoed(result.text or ""))]
        ctx.shared.sessions.add(ctx.path, name, turns, lasting=lasting)
    return result


def _answer(asked: Question, ctx: StepContext, samples: int) -> StepResult:
    return Asking(asked, ctx).result() if samples == 1 else sampled(asked, ctx, samples)


def _redacted(turn: Message, ctx: StepContext) -> str:
    """The text of a turn as it is sent and kept."""
    return ctx.shared.redactor.text("".join(block.text for block in turn.content if isinstance(block, TextBlock)))
