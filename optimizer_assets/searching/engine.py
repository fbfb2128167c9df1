"""dspy's LM layer over the channel: every call that dspy makes is journaled, budgeted, paid once. Imports dspy."""

from collections.abc import Callable
from contextvars import ContextVar

import dspy
from dspy.lm15 import Message as LmMessage
from dspy.lm15 import Request as LmRequest
from dspy.lm15 import Response as LmResponse
from dspy.lm15 import Usage as LmUsage

from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.providers.base import Capabilities, ProviderError
from elexirion_dagster.providers.catalog import ModelRef
from elexirion_dagster.records import Message, Reply, Request, TextBlock
from optimizer_assets.asking.asker import Asker

LAST_REPLY: ContextVar[Reply | None] = ContextVar("LAST_REPLY", default=None)
"""What the last call of this thread came to: dspy's own records of cost and usage are not used."""

_INSTRUCTION_TOKENS = 8_000


class Passed(BaseException):
    """Carries an error through dspy and gepa, which swallow every Exception and report success."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class UnusableProposal(Exception):  # noqa: N818 - one proposal is skipped, the search goes on
    """An instruction that did not come, or not whole."""


class Engine:
    """One attempt per call and nothing of its own: retries, replay and budgets are the channel's."""

    supports_response_schema = False
    supports_function_calling = False
    supported_params = ()

    def __init__(self, send: Callable[[LmRequest], Reply]) -> None:
        self._send = send

    def complete(self, request: LmRequest) -> LmResponse:
        """Answer a request of dspy. Raises Passed, never an Exception."""
        try:
            reply = self._send(request)
        except ElexirionError as error:
            raise Passed(error) from error
        LAST_REPLY.set(reply)
        return LmResponse(
            id=reply.request_id or "reply",
            model=request.model,
            message=LmMessage.assistant(reply.text),
            finish_reason="stop",
            usage=LmUsage(input_tokens=reply.usage.input_tokens, output_tokens=reply.usage.output_tokens),
        )

    def close(self) -> None:
        """The channel is closed by who opened it."""


def answering(asker: Asker) -> "dspy.LM":
    """The model that answers the slot's questions, asked as a run would ask it."""
    spec, native = asker.task.spec, asker.capabilities.output_schema

    def send(request: LmRequest) -> Reply:
        ours = Request(
            model=asker.model.model,
            messages=messages_of(request),
            system=system_of(request),
            max_tokens=spec.max_tokens,
            temperature=spec.temperature,
            output_schema=asker.schema if native else None,
        )
        return asker.reply(asker.redacted(ours))

    return _lm(asker.model, send)


def instructing(asker: Asker) -> "dspy.LM":
    """The model that writes instructions, with the further teachers behind it."""
    teachers = asker.task.teachers

    def send(request: LmRequest) -> Reply:
        def build(model: ModelRef, _: Capabilities) -> Request:
            return Request(model.model, messages_of(request), system_of(request), max_tokens=_INSTRUCTION_TOKENS)

        try:
            reply = asker.channel.ask("instruct", teachers, build)
        except ProviderError as error:
            raise UnusableProposal(error.message) from error
        if reply.stop_reason not in ("end_turn", "stop_sequence"):
            raise UnusableProposal(f"the answer ended with {reply.stop_reason}")
        return reply

    return _lm(teachers[0], send)


def messages_of(request: LmRequest) -> tuple[Message, ...]:
    """The messages of a request of dspy, as ours."""
    return tuple(
        Message("assistant" if message.role == "assistant" else "user", (TextBlock(message.text),))
        for message in request.messages
    )


def system_of(request: LmRequest) -> str | None:
    """The system text of a request of dspy."""
    system = request.system
    if system is None or isinstance(system, str):
        return system
    return "".join(part.text for part in system)


def _lm(model: ModelRef, send: Callable[[LmRequest], Reply]) -> "dspy.LM":
    """Neither cache nor retries of dspy's: its cache does not know the engine, and pays nothing back on a resume."""
    return dspy.LM(str(model), engine=Engine(send), cache=False, num_retries=0)
