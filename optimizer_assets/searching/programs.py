"""A slot as a dspy program whose messages are those that a run sends; back to a candidate. Imports dspy."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dspy

from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.records import Json, TextBlock
from elexirion_dagster.store.learned.learning import Row
from optimizer_assets.asking.asker import Asker
from optimizer_assets.asking.rendering import slot_request
from optimizer_assets.searching.engine import LAST_REPLY, Passed, answering
from optimizer_assets.task import Candidate, Tried

NO_SYSTEM = "(there are no instructions yet)"
"""Stands in a signature for a slot without system text: dspy would write instructions of its own there."""


class TemplateAdapter(dspy.Adapter):  # type: ignore[misc]  # dspy is an extra, so it has no types here
    """Formats as the runtime does. It belongs to the step alone: a proposer has an adapter of its own.

    An answer that cannot be used is no parse error: dspy would show its own format as the remedy. It counts as wrong.
    """

    def __init__(self, asker: Asker) -> None:
        super().__init__()
        self._asker = asker

    def format(self, signature: Any, demos: list[Any], inputs: dict[str, Any]) -> list[dict[str, str]]:
        """The messages of a row with the signature's text and these examples, those that a run would send."""
        asker = self._asker
        candidate = Candidate(text_of(signature), tuple(_pair(asker, demo) for demo in demos))
        try:
            turns = asker.turns.of(inputs["row"])
        except ElexirionError as error:
            raise Passed(error) from error
        whole = slot_request(asker.task.spec, candidate, turns, asker.model, asker.capabilities)
        said = [{"role": turn.role, "content": _text(turn.content)} for turn in whole.messages]
        return [{"role": "system", "content": whole.system}, *said] if whole.system is not None else said

    def parse(self, signature: Any, completion: str) -> dict[str, Json]:  # noqa: ARG002 - dspy's signature
        """The reply as it is; whether it can be used is found out where it is scored."""
        return {"answer": completion}


class StepProgram(dspy.Module):  # type: ignore[misc]  # as above
    """The slot with one text and some examples. Called with a row, it predicts the answer, or None."""

    def __init__(self, asker: Asker, candidate: Candidate) -> None:
        super().__init__()
        self.predict = dspy.Predict(_signature(candidate.system))
        self.predict.demos = [dspy.Example(user=user, answer=answer) for user, answer in candidate.examples]
        self.scope = _Scope(asker)

    def forward(self, row: Row) -> Any:
        """Ask; the prediction carries what the answer came to as `tried`."""
        return self.scope.predict(self.predict, row)

    def candidate(self) -> Candidate:
        """The program as a slot's text, for the registry and the runtime."""
        pairs = (_pair(self.scope.asker, demo) for demo in self.predict.demos)
        return Candidate(text_of(self.predict.signature), tuple(pairs))


class _Scope:
    """What a program needs besides its texts; copies of a program share it."""

    def __init__(self, asker: Asker) -> None:
        self.asker = asker
        self._lm = answering(asker)
        self._adapter = TemplateAdapter(asker)

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Scope":
        return self

    def predict(self, predict: Any, row: Row) -> Any:
        with quiet(), dspy.context(lm=self._lm, adapter=self._adapter):
            prediction = predict(row=row)
        reply = LAST_REPLY.get()
        if reply is None:
            raise AssertionError("the engine answers or raises")
        tried = self.asker.judged(row, reply)
        prediction.tried, prediction.answer = tried, tried.answer
        return prediction


def tried(program: StepProgram, row: Row) -> Tried:
    """One row through the program. Raises ElexirionError."""
    try:
        found: Tried = program(row=row).tried
    except Passed as passed:
        if not isinstance(passed.error, ElexirionError):
            raise
        return program.scope.asker.failed(row, passed.error)
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Dspy without a history, which grows without end, and without word on the type of a row."""
    with dspy.context(disable_history=True, warn_on_type_mismatch=False, track_usage=False):
        yield


def text_of(signature: Any) -> str | None:
    """The system text as it was written: `instructions` would give it with its indentation taken out."""
    text: str = signature.__doc__
    return None if text == NO_SYSTEM else text


def with_text(program: StepProgram, text: str | None) -> StepProgram:
    """A copy of the program with another system text."""
    copy: StepProgram = program.deepcopy()
    copy.predict.signature = copy.predict.signature.with_instructions(text or NO_SYSTEM)
    return copy


def _signature(system: str | None) -> Any:
    fields = {"row": (object, dspy.InputField()), "answer": (object, dspy.OutputField())}
    return dspy.make_signature(fields, system or NO_SYSTEM, signature_name="Step")


def _pair(asker: Asker, demo: Any) -> tuple[str, Json]:
    """A demo of ours, or one that a stock optimizer took from a row."""
    return (demo["user"] if "user" in demo else asker.turns.user(demo["row"])), demo["answer"]


def _text(blocks: tuple[Any, ...]) -> str:
    return "".join(block.text for block in blocks if isinstance(block, TextBlock))
