"""How prompts learn: `optimize`, `score` and `examples`, in the words of the language."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag, field_validator

from elexirion_dagster.errors import ExpressionError
from elexirion_dagster.records import Json
from elexirion_dagster.spec.base import Model, Spec

StepPath = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$", max_length=400)]
"""Names from the top-level step to the llm step, such as `review.look`."""
Objective = Literal["quality", "cost", "latency"]
_SHOWN_CHARS = 80
_KINDS = ("exact", "f1", "expression", "judge")


class ExactMetric(Spec):
    """Right when one field of the answer is the expected one."""

    exact: str = Field(min_length=1)
    """The field of the answer, dotted where it lies deeper."""


class F1Metric(Spec):
    """How many entries of a list are right, and how many of the expected ones are there (F1)."""

    f1: str = Field(min_length=1)
    """The field of the answer that holds the list."""
    by: tuple[str, ...] = ()
    """The fields in which two entries agree when they are the same; the whole entry when empty."""


class ExpressionMetric(Spec):
    """What an expression makes of `inputs`, `answer` and `expected`."""

    expression: str = Field(min_length=1)
    """Template that gives true, false or a number from 0 to 1."""


class Judge(Spec):
    """A model that judges answers."""

    model: Model | None = None
    """Who judges; the step's own model when absent."""
    prompt: str = Field(min_length=1)
    """Template over `inputs`, `answer` and `expected` that asks for a mark."""


class JudgeMetric(Spec):
    """What another model says of the answer, from 0 to 1."""

    judge: Judge
    """Who judges, and what is asked."""


def _kind(value: Json) -> str:
    """Which form of a metric is meant, so that one fault is told once and not per form."""
    if isinstance(value, str):
        return "word"
    if isinstance(value, dict):
        return next((kind for kind in _KINDS if kind in value), "exact")
    return next((kind for kind in _KINDS if hasattr(value, kind)), "word")


Metric = Annotated[
    Annotated[Literal["exact"], Tag("word")]
    | Annotated[ExactMetric, Tag("exact")]
    | Annotated[F1Metric, Tag("f1")]
    | Annotated[ExpressionMetric, Tag("expression")]
    | Annotated[JudgeMetric, Tag("judge")],
    Discriminator(_kind),
]
"""When an answer is right: `exact` compares the whole answer."""


class OptimizeLimits(Spec):
    """What a new prompt must stay within."""

    usd_per_call: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Dollars that one answer may cost on average."""
    p95_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Seconds within which 95 of 100 answers come."""


class OptimizeBudget(Spec):
    """What one optimisation may spend."""

    usd: float = Field(default=5.0, gt=0, le=10_000, allow_inf_nan=False)
    """Dollars."""
    calls: int = Field(default=2000, ge=1, le=1_000_000)
    """Model calls."""
    iterations: int = Field(default=9, ge=1, le=9)
    """Rounds of proposing and trying."""


class Begin(Spec):
    """When an optimisation begins by itself, as far as the sensor is on: whichever comes first."""

    rows: int = Field(default=50, ge=1)
    """So many new outcomes since the last one."""
    success_below: float = Field(default=0.8, ge=0, le=1)
    """The share of good outcomes has fallen below this."""


class Optimize(Spec):
    """How the prompt of an llm step is improved: its `system` and `examples`, never its `prompt`."""

    metric: Metric = "exact"
    """When an answer is right."""
    objectives: tuple[Objective, ...] = Field(default=("quality", "cost"), min_length=1)
    """What counts besides the limits."""
    limits: OptimizeLimits = OptimizeLimits()
    """What answers may cost and how long they may take with a new prompt."""
    min_rows: int = Field(default=30, ge=1, le=100_000)
    """Fewer usable rows are refused."""
    budget: OptimizeBudget = OptimizeBudget()
    """What improving this prompt may cost each time."""
    optimizer: Literal["auto", "gepa", "bootstrap"] = "auto"
    """How candidates are found: by reflection on failures, by examples, or what the rows allow."""
    model: Model | None = None
    """Who writes instructions; the step's own model when absent."""
    instructions: tuple[Annotated[str, StringConstraints(min_length=1)], ...] = ()
    """`system` texts to try besides those that are found."""
    canary: float = Field(default=0.1, gt=0, lt=1)
    """Share of the items that try a version of which only is known that it is not worse."""
    begin: Begin = Begin()
    """When it begins by itself."""

    @field_validator("metric", mode="before")
    @classmethod
    def _is_one_metric(cls, metric: Json) -> Json:
        if isinstance(metric, dict) and sum(kind in metric for kind in _KINDS) != 1:
            raise ValueError(
                "metric is exact, or a map with exactly one of exact, f1, expression and judge, such as {exact: kind}"
            )
        return metric


class Score(Spec):
    """An expression that scores what a step answered, evaluated when the run ends."""

    of: StepPath
    """The llm step, as a path of names such as `review.look`."""
    value: str = Field(min_length=1)
    """Template that gives true, false or a number from 0 to 1; inside a for_each it is asked once per item."""


def as_score(value: Json, template: str) -> float:
    """What a score's or a metric's template came to, from 0 to 1. Raises ExpressionError that names the template."""
    if isinstance(value, bool | int | float) and 0 <= value <= 1:
        return float(value)
    came = repr(value) if len(repr(value)) <= _SHOWN_CHARS else f"{repr(value)[:_SHOWN_CHARS]}…"
    raise ExpressionError(f"expected true, false or a number from 0 to 1, came {came}, in `{template}`")


def merged(outer: Optimize | None, inner: Optimize | None) -> Optimize | None:
    """The step's `optimize` over the pipeline's, key by key; also inside limits, budget and begin."""
    if outer is None or inner is None:
        return inner or outer
    return Optimize.model_validate(_over(outer, inner))


def _over(outer: Spec, inner: Spec) -> dict[str, Json]:
    values = {name: getattr(outer, name) for name in outer.model_fields_set}
    for name in inner.model_fields_set:
        old, new = values.get(name), getattr(inner, name)
        if isinstance(new, OptimizeLimits | OptimizeBudget | Begin) and isinstance(old, Spec):
            new = _over(old, new)
        values[name] = new
    return values
