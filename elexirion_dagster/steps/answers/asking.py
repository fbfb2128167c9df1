"""One question until it is answered: further models by cause, tools between turns, one correction of typed data."""

import json
from collections.abc import Sequence

from elexirion_dagster.calls import Answer, Call, Tally
from elexirion_dagster.errors import Cancelled, ElexirionError, StorageError
from elexirion_dagster.prompting.parse import MalformedOutput, parse, repair_text
from elexirion_dagster.prompting.shown import cut, shown_prompt
from elexirion_dagster.providers.catalog import ModelRef
from elexirion_dagster.providers.failover import moves_on
from elexirion_dagster.records import (
    Block,
    Json,
    Message,
    Reply,
    Status,
    StepError,
    StepResult,
    TextBlock,
    ToolUseBlock,
)
from elexirion_dagster.steps.answers.question import Question
from elexirion_dagster.steps.answers.tool_loop import ToolUses
from elexirion_dagster.steps.context import StepContext

_EMPTY = "(an empty answer)"
_MORE = frozenset({"tool_use", "pause_turn"})
"""Stop reasons of a model that wants to go on."""


class _UnusableError(ElexirionError):
    """An answer that came, and cannot be used; another model may give one that can."""


class Asking:
    """One question while it is being answered. `repairs` is how often wrong data may be corrected."""

    def __init__(self, question: Question, ctx: StepContext, *, repairs: int = 1) -> None:
        self._question = question
        self._ctx = ctx
        self._repairs = repairs
        self._turns = (*question.history, *question.turns)
        self._tools = ToolUses(ctx, question.path, question.tools, question.programs, question.sandbox)
        self._answers: list[Answer] = []
        self._rounds = 0
        self._repaired = False
        self._tally = Tally()

    def result(self) -> StepResult:
        """What it came to; a failure too says what was asked, answered and spent."""
        try:
            data = self._data()
        except (Cancelled, StorageError):
            raise
        except ElexirionError as error:
            return self._whole("failed", error=self._ctx.told(error))
        return self._whole("succeeded", data=data)

    def _data(self) -> Json:
        """Typed data (None without a schema) from the first model whose answer can be used.

        What was said and done before an answer that cannot be used stays: the next model goes on from there.
        """
        models = self._question.models
        while True:
            try:
                return self._answered(models)
            except (_UnusableError, MalformedOutput) as error:
                models = self._from(models)[1:]
                if not models or not moves_on(error.cause):
                    raise

    def _from(self, models: tuple[ModelRef, ...]) -> tuple[ModelRef, ...]:
        """The models from the one that answered last."""
        return models[models.index(self._answers[-1].model) :]

    def _answered(self, models: tuple[ModelRef, ...]) -> Json:
        last = self._last(models)
        if self._question.schema is None:
            return None
        try:
            return parse(last.reply.text, self._question.schema)
        except MalformedOutput as error:
            if not self._repairs:
                raise
            return parse(self._corrected(last, error), self._question.schema)

    def _last(self, models: tuple[ModelRef, ...]) -> Answer:
        """The answer that asks for no more; between answers the tools are used."""
        while True:
            answer = self._send(models, self._turns)
            if answer.reply.stop_reason not in _MORE:
                return answer
            self._go_on(answer.reply)
            models = self._from(models)

    def _go_on(self, reply: Reply) -> None:
        """Do what the model asked for, unless there is no turn left in which it would hear of it."""
        self._rounds += 1
        if self._rounds >= self._question.max_turns:
            raise ElexirionError(
                f"{self._question.path} was not done after {len(self._answers)} model calls",
                cause="max_turns",
                mend="Raise max_turns, or ask for less.",
            )
        self._turns = (*self._turns, _echoed(reply))
        uses = [block for block in reply.blocks if isinstance(block, ToolUseBlock)]
        if uses:
            self._turns = (*self._turns, self._tools.answer(uses))

    def _corrected(self, last: Answer, error: MalformedOutput) -> str:
        """The text of the one answer to what was wrong; a tool that it asks for is not used."""
        turns = (
            *self._turns,
            Message("assistant", (TextBlock(echoed(last.reply.text)),)),
            Message("user", (TextBlock(repair_text(error)),)),
        )
        self._repaired = True
        try:
            reply = self._send((last.model,), turns).reply
        except (Cancelled, StorageError, _UnusableError):
            raise
        except ElexirionError as failure:
            raise _UnusableError(failure.message, cause=failure.cause, mend=failure.mend) from failure
        if reply.stop_reason in _MORE:
            raise MalformedOutput(["expected the corrected answer, came the wish for a tool"])
        return reply.text

    def _send(self, models: tuple[ModelRef, ...], turns: Sequence[Message]) -> Answer:
        question, shared = self._question, self._ctx.shared
        call = Call(
            path=question.path,
            models=models,
            build=lambda model, capabilities: question.request(model, capabilities, turns),
            retry=question.retry,
            allowance=self._ctx.allowance,
            inputs=question.inputs,
            prompt_version=question.version,
            pipeline=shared.under_way[-1],
            slot=".".join(self._ctx.names),
            hearing=lambda: shared.partials.hearing(question.path),
        )
        answer = shared.calls.send(call, deadline=self._ctx.deadline, tally=self._tally)
        self._answers.append(answer)
        _finished(answer.reply, tools=bool(question.tools))
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
        shown: dict[str, Json] = {"prompt_version": self._question.version, "attempts": self._tally.attempts}
        if self._question.slot.note:
            shown["prompt_note"] = self._question.slot.note
        if not self._answers:
            return {**shown, "prompt": cut(self._ctx.shared.redactor.text(self._question.text))}
        last = self._answers[-1]
        if self._question.tools:
            shown |= {"turns": len(self._answers), "tools_used": self._tools.count, "tool_calls": self._tools.shown}
        return {
            **shown,
            "model": str(last.model),
            "prompt": shown_prompt(last.request),
            "reply": cut(last.reply.text),
            "repaired": self._repaired,
            "replayed": all(answer.replayed for answer in self._answers),
            "latency_s": round(sum(answer.reply.latency_s for answer in self._answers), 3),
            "tokens": last.reply.usage.to_json(),
        }


def echoed(text: str) -> str:
    """A model's text in a form in which it can be sent back: a lone surrogate is no character, nothing is no turn."""
    return text.encode(errors="replace").decode() if text.strip() else _EMPTY


def _echoed(reply: Reply) -> Message:
    """A reply as a turn that can be sent back; servers refuse text that is nothing but white space."""
    kept = [block for block in reply.blocks if not isinstance(block, TextBlock) or block.text.strip()]
    return Message("assistant", tuple(_sendable(block) for block in kept or [TextBlock(_EMPTY)]))


def _sendable(block: Block) -> Block:
    """Thinking stays verbatim."""
    match block:
        case TextBlock(text=text):
            return TextBlock(echoed(text))
        case ToolUseBlock(id=use, name=name, input=given):
            whole = json.dumps(dict(given), ensure_ascii=False).encode(errors="replace")
            return ToolUseBlock(use, name, json.loads(whole))
        case _:
            return block


def _finished(reply: Reply, *, tools: bool) -> None:
    """Refuse a reply that is not whole."""
    match reply.stop_reason:
        case "end_turn" | "stop_sequence":
            return
        case "max_tokens":
            raise _UnusableError(
                "the answer was cut at max_tokens", cause="truncated", mend="Raise max_tokens or ask for less."
            )
        case "context_exceeded":
            raise _UnusableError(
                "the prompt and answer did not fit the model's context",
                cause="context_exceeded",
                mend="Send less text.",
            )
        case "refusal":
            raise _UnusableError(
                "the model refused to answer", cause="refused", mend="Reword the prompt or use another model."
            )
        case "tool_use" | "pause_turn" if not tools:
            raise _UnusableError(
                f"the model stopped with {reply.stop_reason} though no tools were offered", cause="malformed_output"
            )
