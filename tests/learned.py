"""Rows, answers and tasks as the optimizer's files hand them to each other."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from elexirion_dagster.redact import Redactor
from elexirion_dagster.spec.learning import Optimize
from elexirion_dagster.spec.llm import LlmStep
from elexirion_dagster.store.learned.learning import Row
from optimizer_assets.proving.gate import Check, Verdict, judge_candidate
from optimizer_assets.scoring.metrics import exact
from optimizer_assets.task import Candidate, Task, Tried

BASE, BETTER = Candidate("Say what kind of change it is."), Candidate("Name the kind of change, in one word.")


def a_row(text: Any, expected: Any = "fix", **fields: Any) -> Row:
    """A labelled row of `inputs.text`, in a group of its own unless told otherwise."""
    key = fields.pop("key", f"key-{text}")
    made = Row(key, {"inputs.text": text}, None, expected, None, None, "label", fields.pop("group", key))
    return replace(made, **fields)


def some_rows(count: int) -> list[Row]:
    """Rows far from each other, of three classes."""
    return [a_row(f"{_words(at)} {_words(at * 7919 + 13)}", ("fix", "feature", "docs")[at % 3]) for at in range(count)]


def _words(number: int) -> str:
    """A few made-up words that hardly two numbers share."""
    letters = "".join("bcdfghjklm"[int(digit)] + "aeiouaeiou"[int(digit)] for digit in f"{number * 104729 + 17:08d}")
    return f"{letters[:8]} {letters[8:]}"


def a_try(row: Row, score: float, **fields: Any) -> Tried:
    return replace(Tried(row, score, "", "fix", 0.001, 1.0, 100, None), **fields)


def tries(rows: Sequence[Row], scores: Sequence[float], **fields: Any) -> list[Tried]:
    return [a_try(row, score, **fields) for row, score in zip(rows, scores, strict=True)]


def a_task(step: dict[str, Any] | None = None, base: Candidate = BASE, **settings: Any) -> Task:
    """A slot that asks about `inputs.text`."""
    return Task(
        pipeline="kinds",
        step="ask",
        spec=LlmStep(**{"name": "ask", "type": "llm", "prompt": "Change: {{ inputs.text }}", **(step or {})}),
        models=(),
        teachers=(),
        settings=Optimize(**settings),
        metric=exact,
        base=base,
        base_hash="base",
    )


def judged(task: Task, candidate: Candidate, base: Sequence[Tried], new: Sequence[Tried], **other: Any) -> Verdict:
    """The gate's word, with nothing tried before and the same answers after reloading."""
    given = {"again": new, "train": (), "earlier": (), "redactor": Redactor(), **other}
    return judge_candidate(task, candidate, base, new, **given)


def check_of(verdict: Verdict, name: str) -> Check:
    return next(check for check in verdict.checks if check.name == name)
