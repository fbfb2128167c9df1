"""Ask a model; with `output`, get typed data or ask it once more to correct itself."""

import json
from collections.abc import Mapping, Sequence
from itertools import islice

from elexirion_dagster.calls import Answer, Call, Tally
from elexirion_dagster.errors import Cancelled, ElexirionError, InputError, StorageError
from elexirion_dagster.prompting.parse import MalformedOutput, parse, repair_text
from elexirion_dagster.prompting.render import Example, build_request
from elexirion_dagster.prompting.shown import cut, shown_prompt
from elexirion_dagster.providers.base import Capabilities
from elexirion_dagster.providers.catalog import ModelRef
from elexirion_dagster.providers.failover import moves_on
from elexirion_dagster.records import Json, Message, Reply, Request, Status, StepError, StepResult, TextBlock
from elexirion_dagster.spec.llm import LlmStep
from elexirion_dagster.steps.context import Slot, StepContext

_INPUT_PROMPTS, _INPUT_CHARS = 4, 4_000  # JSON escapes and short prompts over larger records stay whole


def run(step: LlmStep, ctx: StepContext) -> StepResult:
    """One call, at most one repair, further models by cause; skipped when no model is configured."""
    models = ctx.shared.pins.models(step.model)
    if not models:
        return StepResult("skipped", reason=ctx.shared.pins.no_model)
    return _Asking(step, ctx, models).result()


class _Asking:
    """One llm step while it is being answered."""

    def __init__(self, step: LlmStep, ctx: StepContext, models: tuple[ModelRef, ...]) -> None:
        self._step = step
        self._ctx = ctx
        self._models = models
        self._slot: Slot = ctx.shared.pins.slot(step, ".".join(ctx.names))
        self._schema = step.output_schema()
        self._prompt = _sendable(ctx.render(step.prompt), ctx.path)
        self._inputs = referred_inputs(step, ctx, len(self._prompt))
        self._answers: list[Answer] = []
        self._tally = Tally()

    def result(self) -> StepResult:
        """The step's result; a failure too says what was asked, answered and spent."""
        try:
            data = self._data()
        except (Cancelled, StorageError):
            raise
        except ElexirionError as error:
            message = self._ctx.shared.redactor.text(error.message)
            return self._whole("failed", error=StepError(error.cause, message, error.mend))
        return self._whole("succeeded", data=data)

    def _data(self) -> Json:
        """Typed data (None without a schema) from the first model whose answer can be used."""
        models = self._models
        while True:
            asked = len(self._answers)
            try:
                return self._answered(models)
            except ElexirionError as error:
                if len(self._answers) == asked or not moves_on(error.cause):
                    raise
                models = models[models.index(self._answers[-1].model) + 1 :]
                if not models:
                    raise

    def _answered(self, models: tuple[ModelRef, ...]) -> Json:
        first = self._send(models, self._prompt, ())
        if self._schema is None:
            return None
        try:
            return parse(first.reply.text, self._schema)
        except MalformedOutput as error:
            turns = (
                Message("user", (TextBlock(self._prompt),)),
                Message("assistant", (TextBlock(first.reply.text or "(an empty answer)"),)),
            )
            return parse(self._send((first.model,), repair_text(error), turns).reply.text, self._schema)

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
                stream=self._ctx.shared.partials.stream,
            )

        call = Call(
            path=self._ctx.path,
            models=models,
            build=build,
            retry=self._step.retry or self._ctx.shared.retry,
            inputs=self._inputs,
            prompt_version=self._slot.version,
            hearing=lambda: self._ctx.shared.partials.hearing(self._ctx.path),
        )
        answer = self._ctx.shared.calls.send(call, deadline=self._ctx.deadline, tally=self._tally)
        self._answers.append(answer)
        _finished(answer.reply)
        return answer

    def _whole(self, status: Status, *, data: Json = None, error: StepError | None = None) -> StepResult:
        measured = bool(self._answers or self._tally.attempts)
        return StepResult(
            status,
            data=data,
            text=self._answers[-1].reply.text if self._answers else None,
            error=error,
            cost_usd=self._tally.cost_usd if measured else None,
            usage=self._tally.usage if measured else None,
            metadata=self._metadata(),
        )

    def _metadata(self) -> dict[str, Json]:
        shown: dict[str, Json] = {"prompt_version": self._slot.version, "attempts": self._tally.attempts}
        if self._slot.note:
            shown["prompt_note"] = self._slot.note
        if not self._answers:
            return {**shown, "prompt": cut(self._ctx.shared.redactor.text(self._prompt))}
        last = self._answers[-1]
        return {
            **shown,
            "model": str(last.model),
            "prompt": shown_prompt(last.request),
            "reply": cut(last.reply.text),
            "repaired": len(last.request.messages) > len(self._answers[0].request.messages),
            "replayed": all(answer.replayed for answer in self._answers),
            "latency_s": round(sum(answer.reply.latency_s for answer in self._answers), 3),
            "tokens": last.reply.usage.to_json(),
        }


def _sendable(prompt: str, path: str) -> str:
    """The prompt, if it is text: what came from bytes that are none cannot be sent, and must not look like a fault."""
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        message = f"the prompt of {path} holds {prompt[error.start]!r} at character {error.start}, which is no text"
        raise InputError(message, mend="Look where that value comes from: it is not UTF-8.") from error
    return prompt


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


def referred_inputs(step: LlmStep, ctx: StepContext, prompt_chars: int) -> Mapping[str, Json]:
    """The values that the prompt template referred to, by dotted path: what the outcome is learned from.

    Of a value far larger than the prompt only a part can have gone into it; its size stands for it.
    """
    most = _INPUT_PROMPTS * prompt_chars + _INPUT_CHARS
    found: dict[str, Json] = {}
    for chain in ctx.shared.references.of_text(step.prompt):
        try:
            value = ctx.value(chain)
        except ElexirionError:
            continue
        found[".".join(chain)] = {"omitted": f"more than {most} characters"} if _exceeds(value, most) else value
    return found


def _exceeds(value: Json, most: int) -> bool:
    """Whether a value has more characters than that; looks no further than it must."""
    todo, left = [value], most
    while todo and left >= 0:
        part = todo.pop()
        match part:
            case str():
                left -= len(part)
            case Mapping():
                left -= sum(map(len, part)) + 1
                todo.extend(part.values())
            case list():
                left -= len(part) + 1
                todo.extend(islice(part, max(left, 0) + 1))
            case _:
                left -= 1
    return left < 0
