"""Ask a model once; with `output`, get typed data or ask it once more to correct itself."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from elexirion_dagster.calls import Answer, Call, cut, shown_prompt
from elexirion_dagster.errors import ElexirionError, ExpressionError
from elexirion_dagster.prompting.parse import MalformedOutput, parse, repair_text
from elexirion_dagster.prompting.render import Example, build_request
from elexirion_dagster.providers.base import Capabilities
from elexirion_dagster.providers.catalog import ModelRef
from elexirion_dagster.records import Json, Message, Reply, Request, StepResult, TextBlock
from elexirion_dagster.spec.llm import LlmStep
from elexirion_dagster.steps.context import Slot, StepContext
from elexirion_dagster.steps.sequence import add_costs

NO_MODEL = "no model is configured; `elexirion doctor` says how to configure one"


def run(step: LlmStep, ctx: StepContext) -> StepResult:
    """One call, at most one repair; skipped when no model is configured."""
    models = ctx.shared.pins.models(step.model)
    if not models:
        return StepResult("skipped", reason=NO_MODEL)
    return _Asking(step, ctx, models).result()


class _Asking:
    """One llm step while it is being answered."""

    def __init__(self, step: LlmStep, ctx: StepContext, models: tuple[ModelRef, ...]) -> None:
        self._step = step
        self._ctx = ctx
        self._models = models
        self._slot: Slot = ctx.shared.pins.slot(step, ".".join(ctx.names))
        self._schema = step.output_schema()
        self._prompt = ctx.render(step.prompt)
        self._inputs = referred_inputs(step, ctx)

    def result(self) -> StepResult:
        first = self._send(self._models, self._prompt, ())
        _finished(first.reply)
        if self._schema is None:
            return self._done([first], None)
        try:
            return self._done([first], parse(first.reply.text, self._schema))
        except MalformedOutput as error:
            second = self._repair(first, error)
            return self._done([first, second], parse(second.reply.text, self._schema))

    def _repair(self, first: Answer, error: MalformedOutput) -> Answer:
        turns = (
            Message("user", (TextBlock(self._prompt),)),
            Message("assistant", (TextBlock(first.reply.text or "(an empty answer)"),)),
        )
        second = self._send((first.model,), repair_text(error), turns)
        _finished(second.reply)
        return second

    def _send(self, models: tuple[ModelRef, ...], user: str, history: Sequence[Message]) -> Answer:
        def build(model: ModelRef, capabilities: Capabilities) -> Request:
            return build_request(
                model=model.model,
                user=user,
                system=self._slot.system,
                examples=[_example(prompt, answer) for prompt, answer in self._slot.examples],
                history=history,
                output_schema=self._schema,
                native_schema=capabilities.output_schema,
                max_tokens=self._step.max_tokens,
                temperature=self._step.temperature,
            )

        call = Call(
            path=self._ctx.path,
            models=models,
            build=build,
            retry=self._step.retry or self._ctx.shared.retry,
            inputs=self._inputs,
            prompt_version=self._slot.version,
        )
        return self._ctx.shared.calls.send(call, deadline=self._ctx.deadline)

    def _done(self, answers: Sequence[Answer], data: Json) -> StepResult:
        last = answers[-1]
        usage = sum((answer.usage for answer in answers[1:]), answers[0].usage)
        return StepResult(
            "succeeded",
            data=data,
            text=last.reply.text,
            cost_usd=add_costs([answer.cost_usd for answer in answers]),
            usage=usage,
            metadata=self._metadata(answers),
        )

    def _metadata(self, answers: Sequence[Answer]) -> dict[str, Json]:
        last = answers[-1]
        return {
            "model": f"{last.model.provider}/{last.model.model}",
            "prompt": shown_prompt(last.request),
            "reply": cut(last.reply.text),
            "prompt_version": self._slot.version,
            **({"prompt_note": self._slot.note} if self._slot.note else {}),
            "attempts": sum(answer.attempts for answer in answers),
            "repaired": len(answers) > 1,
            "replayed": all(answer.replayed for answer in answers),
            "latency_s": round(sum(answer.reply.latency_s for answer in answers), 3),
            "tokens": asdict(last.reply.usage),
        }


def _example(prompt: str, answer: Json) -> Example:
    """A worked example as the two turns it is sent as."""
    return Example(prompt, answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False))


def _finished(reply: Reply) -> None:
    """Refuse a reply that is not whole."""
    match reply.stop_reason:
        case "end_turn" | "stop_sequence":
            return
        case "max_tokens":
            raise ElexirionError(
                "the answer was cut at max_tokens", cause="truncated", mend="Raise max_tokens or ask for less."
            )
        case "context_exceeded":
            raise ElexirionError(
                "the prompt and answer did not fit the model's context",
                cause="context_exceeded",
                mend="Send less text.",
            )
        case "refusal":
            raise ElexirionError(
                "the model refused to answer", cause="refused", mend="Reword the prompt or use another model."
            )
        case "tool_use" | "pause_turn":
            raise ElexirionError(
                f"the model stopped with {reply.stop_reason} though no tools were offered", cause="malformed_output"
            )


def referred_inputs(step: LlmStep, ctx: StepContext) -> Mapping[str, Json]:
    """The values that the prompt template referred to, by dotted path: what the outcome is learned from."""
    found: dict[str, Json] = {}
    for chain in ctx.shared.references.of(step):
        path = ".".join(chain)
        try:
            found[path] = ctx.shared.engine.evaluate(f"{{{{ {path} }}}}", ctx.scope)
        except ExpressionError:
            continue
    return found
