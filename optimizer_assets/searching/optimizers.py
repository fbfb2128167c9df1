"""From rows to measured candidates: given texts, written ones, examples, and texts with examples. dspy comes late."""

from collections.abc import Sequence

from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.store.learned.learning import Row
from optimizer_assets.asking.asker import Asker
from optimizer_assets.searching.examples import show
from optimizer_assets.searching.search import Search
from optimizer_assets.task import Candidate, Found, Listen, Task

FEW_ROWS = 20
"""With fewer rows to learn from, examples teach more than reflection."""
_SHOWN, _SHOWN_OF_FEW = 3, 5
"""Rounds that are kept for examples where instructions are written too: of nine, and where rows are few."""


def optimise(task: Task, asker: Asker, train: Sequence[Row], validation: Sequence[Row], listen: Listen) -> Found:
    """Look for better texts and examples, within `optimize.budget`; `asker` is entered, and its rows hold these.

    A budget that is spent ends the search with what it has; the slot as it is was measured at least. Raises
    ElexirionError where the model is dead, the metric is wrong, or not even that could be afforded.
    """
    search = Search(task, asker, train, validation, listen)
    search.measure(task.base, "base")
    try:
        _look(search)
    except ElexirionError as error:
        if error.cause != "budget_exceeded":
            raise
        search.notes.append(f"the search ended early: {error.message}")
    return search.found()


def _look(search: Search) -> None:
    """The arms, each beginning with the best that the ones before found."""
    task = search.task
    for text in task.settings.instructions:
        search.measure(Candidate(text, task.base.examples), "instructions")
    written = rounds_of_reflection(task, len(search.train))
    if written:
        # dspy takes 2,000 ms to import (measured), and a search by examples needs none of it.
        from optimizer_assets.searching.reflection import reflect  # noqa: PLC0415

        reflect(search, search.best.candidate, written)
    if task.settings.optimizer != "gepa":
        show(search, search.left)


def rounds_of_reflection(task: Task, rows: int) -> int:
    """How many rounds instructions are written in: none without a model that can, all when only that is wanted."""
    wanted, rounds = task.settings.optimizer, task.settings.budget.iterations
    if wanted == "bootstrap" or (wanted == "auto" and not task.teachers):
        return 0
    if wanted == "gepa" and not task.teachers:
        raise ElexirionError(
            f"{task.address}: `optimizer: gepa` needs a model that can write instructions, and none is there",
            cause="model_not_found",
            mend="Name one under `optimize.model`, or use `optimizer: bootstrap`.",
        )
    shown = 0 if wanted == "gepa" else (_SHOWN_OF_FEW if rows < FEW_ROWS else _SHOWN)
    return max(rounds - shown, 1)
