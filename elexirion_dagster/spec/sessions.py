"""Conversations that several steps continue: who takes part, and what would make their order a matter of luck."""

from collections.abc import Iterator

from elexirion_dagster.spec.base import StepBase
from elexirion_dagster.spec.conversation import Session
from elexirion_dagster.spec.llm import LlmStep
from elexirion_dagster.spec.steps import ForEachStep, branches, inner_steps

Place = tuple[str | int, ...]


def sessions(step: StepBase) -> frozenset[str]:
    """Conversations that a step, or one inside it, continues."""
    session = step.conversation() if isinstance(step, LlmStep) else None
    own = frozenset({session.name} if session else ())
    return own.union(*(sessions(part) for part in inner_steps(step)))


def faults(steps: tuple[StepBase, ...]) -> Iterator[tuple[Place, str, str]]:
    """Where a conversation cannot have one order or one scope: place, message, mend."""
    first: dict[str, Session] = {}
    for step, at, parallel in _steps(steps, ("steps",), None):
        session = step.conversation()
        if session is None:
            continue
        if parallel is not None:
            message = (
                f"the session {session.name!r} has no order here: {parallel.name!r} works on {parallel.max_parallel} "
                "items at once"
            )
            yield (*at, "session"), message, f"Set max_parallel: 1 on {parallel.name}, or leave the session out."
        known = first.setdefault(session.name, session)
        if known.scope != session.scope:
            message = f"the session {session.name!r} has scope {session.scope} here and {known.scope} above"
            yield (*at, "session"), message, "Give both the same scope, or two names."


def _steps(
    steps: tuple[StepBase, ...], at: Place, parallel: ForEachStep | None
) -> Iterator[tuple[LlmStep, Place, ForEachStep | None]]:
    """Every llm step with its place and the loop around it that works on several items at once."""
    for index, step in enumerate(steps):
        if isinstance(step, LlmStep):
            yield step, (*at, index), parallel
        inside = step if isinstance(step, ForEachStep) and step.max_parallel > 1 else parallel
        for label, inner in branches(step).items():
            yield from _steps(inner, (*at, index, *label.split(".", 1)), inside)
