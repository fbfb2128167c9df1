"""What an answer is worth, 0 to 1, and why, in words that a model which writes instructions can use."""

from collections.abc import Callable
from dataclasses import dataclass

from elexirion_dagster.expressions import Engine
from elexirion_dagster.records import Json
from elexirion_dagster.spec.learning import Optimize
from elexirion_dagster.store.learning import Row


@dataclass(frozen=True, slots=True)
class Scored:
    """What an answer is worth, from 0 to 1, and what was expected, what came, what people said."""

    score: float
    feedback: str


Metric = Callable[[Row, Json], Scored]
"""Scores one answer to one row. Raises ElexirionError where there is no telling."""


def metric_of(settings: Optimize, engine: Engine, judge: Metric | None) -> Metric:
    """The metric that a slot is optimised for; `judge` is asked where the settings name one."""
    raise NotImplementedError
