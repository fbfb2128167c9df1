"""What an llm step asks, rendered: the same whoever answers, and however often."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from elexirion_dagster.errors import ElexirionError, InputError
from elexirion_dagster.prompting.render import build_request, example_of, sendable
from elexirion_dagster.providers.base import Capabilities
from elexirion_dagster.providers.catalog import ModelRef
from elexirion_dagster.records import Json, Message, Request, TextBlock, Tool
from elexirion_dagster.sandbox.policy import PROGRAMS_ONLY, Sandbox
from elexirion_dagster.spec.base import Retry
from elexirion_dagster.spec.llm import LlmStep
from elexirion_dagster.steps.context import Slot, StepContext
from elexirion_dagster.steps.tools import catalog

_INPUT_PROMPTS, _INPUT_CHARS = 4, 4_000  # JSON escapes and short prompts over larger records stay whole


@dataclass(frozen=True, slots=True)
class Question:
    """One step's question. `turns` are what it asks itself, `history` what a session said before.

    `version` is the slot's, for what is learned from the answer; None where nothing is to be learned.
    """

    path: str
    models: tuple[ModelRef, ...]
    slot: Slot
    turns: tuple[Message, ...]
    schema: Mapping[str, Json] | None
    max_tokens: int
    temperature: float | None
    retry: Retry
    stream: bool
    version: str | None
    inputs: Mapping[str, Json] = field(default_factory=dict)
    history: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] = ()
    programs: tuple[str, ...] = ()
    sandbox: Sandbox = PROGRAMS_ONLY
    max_turns: int = 1

    @property
    def text(self) -> str:
        """All that it asks, as people read it."""
        if len(self.turns) == 1:
            return _text(self.turns[0])
        return "\n\n".join(f"[{turn.role}]\n{_text(turn)}" for turn in self.turns)

    def request(self, model: ModelRef, capabilities: Capabilities, turns: Sequence[Message]) -> Request:
        """The request for one model, with these turns after the worked examples."""
        return build_request(
            model=model.model,
            system=self.slot.system,
            examples=[example_of(prompt, answer) for prompt, answer in self.slot.examples],
            history=turns,
            output_schema=self.schema,
            native_schema=capabilities.output_schema,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            tools=self.tools,
            stream=self.stream,
        )

    def sample(self, number: int) -> "Question":
        """The same question for one of several independent answers; its path is what tells their calls apart."""
        return replace(self, path=f"{self.path}[sample {number}]")


def question(step: LlmStep, ctx: StepContext, models: tuple[ModelRef, ...]) -> Question:
    """What a step asks. Raises ExpressionError, and InputError when no model can do what it needs."""
    written = step.turns()
    turns = tuple(Message(turn.role, (TextBlock(sendable(ctx.render(turn.content), ctx.path)),)) for turn in written)
    templates = [turn.content for turn in written]
    slot = ctx.slot(step)
    return Question(
        path=ctx.path,
        models=_able(step, ctx, models),
        slot=slot,
        turns=turns,
        schema=step.output_schema(),
        max_tokens=step.max_tokens,
        temperature=step.temperature,
        retry=step.retry or ctx.shared.retry,
        stream=ctx.shared.partials.stream,
        version=slot.version,
        inputs=referred_inputs(templates, ctx, sum(len(_text(turn)) for turn in turns)),
        tools=catalog.offered(step.tool_names(), step.programs()),
        programs=step.programs(),
        sandbox=ctx.shared.sandbox.under(step.sandbox, network=False),
        max_turns=step.max_turns,
    )


def simpler(step: LlmStep, ctx: StepContext, models: tuple[ModelRef, ...], template: str) -> Question:
    """What a step asks instead, once: the same slot's system text, nothing else of the first question."""
    slot = ctx.slot(step)
    text = sendable(ctx.render(template), ctx.path)
    return Question(
        path=f"{ctx.path}[fallback]",
        models=models,
        slot=replace(slot, examples=()),
        turns=(Message("user", (TextBlock(text),)),),
        schema=step.output_schema(),
        max_tokens=step.max_tokens,
        temperature=step.temperature,
        retry=step.retry or ctx.shared.retry,
        stream=ctx.shared.partials.stream,
        version=None,
        inputs=referred_inputs([template], ctx, len(text)),
    )


def _able(step: LlmStep, ctx: StepContext, models: tuple[ModelRef, ...]) -> tuple[ModelRef, ...]:
    """The models that take tools, where the step has some."""
    if not step.tools:
        return models
    able = tuple(model for model in models if ctx.shared.calls.capabilities(model).tools)
    if not able:
        named = ", ".join(map(str, models))
        raise InputError(
            f"{ctx.path} has tools, which {named} cannot use", mend="Name a model that can, or leave them out."
        )
    return able


def _text(turn: Message) -> str:
    return "".join(block.text for block in turn.content if isinstance(block, TextBlock))


def referred_inputs(templates: Sequence[str], ctx: StepContext, prompt_chars: int) -> Mapping[str, Json]:
    """The values that the templates referred to, by dotted path: what the outcome is learned from.

    Of a value far larger than the prompt only a part can have gone into it; its size stands for it.
    """
    most = _INPUT_PROMPTS * prompt_chars + _INPUT_CHARS
    found: dict[str, Json] = {}
    for chain in sorted({chain for template in templates for chain in ctx.shared.references.of_text(template)}):
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
