"""What is optimised, what was tried, what was found: the words that the optimizer's files share. No dspy."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from elexirion_dagster.providers.catalog import ModelRef
from elexirion_dagster.records import Json
from elexirion_dagster.spec.learning import Optimize
from elexirion_dagster.spec.llm import LlmStep
from elexirion_dagster.store.learned.learning import Row
from optimizer_assets.scoring.metrics import Metric

How = Literal["base", "instructions", "gepa", "bootstrap", "combined"]
"""Where a candidate comes from: the slot as it is, a given text, reflection, examples, or a text with examples."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A slot's text that is no version yet: the system text, and pairs of a rendered user turn and its answer."""

    system: str | None
    examples: tuple[tuple[str, Json], ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """One slot to optimise. `models` answer as in a run (the first is asked), `teachers` write instructions."""

    pipeline: str
    step: str
    spec: LlmStep
    models: tuple[ModelRef, ...]
    teachers: tuple[ModelRef, ...]
    settings: Optimize
    metric: Metric
    base: Candidate
    base_hash: str

    @property
    def address(self) -> str:
        """The slot's address: `pipeline/step`."""
        return f"{self.pipeline}/{self.step}"


@dataclass(frozen=True, slots=True)
class Tried:
    """One row answered with one candidate, and what that was worth. `cost_usd` and `latency_s` None: not known."""

    row: Row
    score: float
    feedback: str
    answer: Json | None
    cost_usd: float | None
    latency_s: float | None
    tokens: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Measured:
    """A candidate's means over the validation rows; `n` is how many there were."""

    candidate: Candidate
    quality: float
    cost_usd: float | None
    latency_s: float | None
    how: How
    n: int


@dataclass(frozen=True, slots=True)
class Iteration:
    """One round of proposing and trying, from 1 on; 0 is what was there before: the base and the given instructions.

    `validation` None: the candidate was dropped after a few rows and never measured on all of them. `best` is the best
    quality so far; `usd` and `calls` are what was spent up to here.
    """

    number: int
    candidate: Candidate
    validation: float | None
    best: float
    usd: float | None
    calls: int
    latency_s: float | None
    accepted: bool
    how: How


@dataclass(frozen=True, slots=True)
class Found:
    """All candidates measured on the validation rows, the base first, and the way there.

    `notes` say what did not go as planned: proposals that could not be used, a budget that ended the search.
    """

    candidates: tuple[Measured, ...]
    iterations: tuple[Iteration, ...]
    calls: int
    usd: float | None
    notes: tuple[str, ...] = ()


Listen = Callable[[Iteration], None]
"""Hears of every iteration when it has been measured."""
