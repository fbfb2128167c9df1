"""What an answer is worth, 0 to 1, and why, in words that a model which writes instructions can use."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from elexirion_dagster.errors import ExpressionError, InputError
from elexirion_dagster.expressions import Engine
from elexirion_dagster.records import Json
from elexirion_dagster.spec.learning import (
    ExactMetric,
    ExpressionMetric,
    F1Metric,
    JudgeMetric,
    Optimize,
)
from elexirion_dagster.store.learned.learning import Row
from optimizer_assets.rows.texts import canonical, written
from optimizer_assets.scoring.scopes import scope_of

SHOWN_CHARS = 1_500
"""So much of a value stands in a feedback."""
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Scored:
    """What an answer is worth, from 0 to 1, and what was expected, what came, what people said."""

    score: float
    feedback: str


Metric = Callable[[Row, Json], Scored]
"""Scores one answer to one row. Raises ElexirionError where there is no telling."""


def metric_of(settings: Optimize, engine: Engine, judge: Metric | None) -> Metric:
    """The metric that a slot is optimised for; `judge` is asked where the settings name one."""
    match settings.metric:
        case "exact":
            return exact
        case ExactMetric(exact=field):
            return partial(exact_field, field)
        case F1Metric(f1=field, by=by):
            return partial(f1, field, by)
        case ExpressionMetric(expression=expression):
            return partial(evaluated, engine, expression)
        case JudgeMetric():
            if judge is None:
                raise InputError(
                    "expected a model that judges, as `metric: {judge: …}` asks, came none",
                    mend="Hand a judge to metric_of.",
                )
            return judge


def needs_gold(settings: Optimize) -> bool:
    """Whether a row is of use only with an expected answer."""
    return not isinstance(settings.metric, ExpressionMetric | JudgeMetric)


def gold_of(row: Row, settings: Optimize) -> Json:
    """The part of the expected answer that the metric looks at. InputError where it is missing."""
    match settings.metric:
        case ExactMetric(exact=field) | F1Metric(f1=field):
            return _gold_field(row, field)
        case _:
            return row.expected


def exact(row: Row, answer: Json) -> Scored:
    """Right when the whole answer is the expected one."""
    return _compared(row, "the answer", _gold(row), answer)


def exact_field(field: str, row: Row, answer: Json) -> Scored:
    """Right when one field is the expected one; a gold that is no map is the field's own value."""
    return _compared(row, f"`{field}`", _gold_field(row, field), _field(answer, field))


def f1(field: str, by: Sequence[str], row: Row, answer: Json) -> Scored:
    """The harmonic mean of precision and recall over the entries of a list; 1 where none is expected and none came."""
    wanted = _entries(_gold_field(row, field), by)
    if wanted is None:
        raise InputError(
            f"expected a list in `{field}` of the expected answer of {_name(row)}, came {_shown(row.expected)}",
            mend="Label the row with a list, an empty one where there is nothing to find.",
        )
    came = _entries(_field(answer, field), by)
    if came is None:
        return _scored(row, 0.0, f"Wrong: expected a list in `{field}`, came {_shown(answer)}.")
    right = (wanted & came).total()
    score = 2 * right / (wanted.total() + came.total()) if wanted or came else 1.0
    return _scored(row, score, _f1_said(field, right, wanted - came, came - wanted))


def evaluated(engine: Engine, expression: str, row: Row, answer: Json) -> Scored:
    """What the expression says: true, false or a number from 0 to 1; anything else is an ExpressionError naming it."""
    value = engine.evaluate(expression, scope_of(row.inputs, answer=answer, expected=row.expected))
    score = mark(value)
    if score is None:
        raise ExpressionError(
            f"expected true, false or a number from 0 to 1 from the metric `{expression}`, "
            f"came {_shown(value)} for {_name(row)}",
            mend="Divide by the largest possible value, and guard against what is missing.",
        )
    wanted = f" Expected: {_shown(row.expected)}." if row.expected is not None else ""
    return _scored(row, score, f"`{expression}` gave {score:g} (1 is best).{wanted} Came: {_shown(answer)}.")


def mark(value: Json) -> float | None:
    """The value as a mark from 0 to 1; None: it is none."""
    if not isinstance(value, bool | int | float) or not math.isfinite(value) or not 0 <= value <= 1:
        return None
    return float(value)


def _compared(row: Row, what: str, wanted: Json, came: Json) -> Scored:
    if came is not _MISSING and canonical(wanted) == canonical(came):
        return _scored(row, 1.0, f"Right: {what} is {_shown(wanted)}.")
    shown = "nothing" if came is _MISSING else _shown(came)
    return _scored(row, 0.0, f"Wrong: expected {_shown(wanted)} for {what}, came {shown}.")


def _f1_said(field: str, right: int, missed: Counter[str], extra: Counter[str]) -> str:
    if not missed and not extra:
        return f"Right: all {right} of `{field}` and none else."
    parts = [f"{right} of `{field}` right."]
    parts += [f"Missed: {_listed(missed)}."] if missed else []
    parts += [f"Not expected: {_listed(extra)}."] if extra else []
    return " ".join(parts)


def _scored(row: Row, score: float, said: str) -> Scored:
    comment = f" People said: {_cut(row.comment)}" if row.comment else ""
    return Scored(score, said + comment)


def _gold(row: Row) -> Json:
    if row.expected is None:
        raise InputError(
            f"expected an expected answer in {_name(row)}, came none", mend="Label the row, or leave it out."
        )
    return row.expected


def _gold_field(row: Row, field: str) -> Json:
    gold = _gold(row)
    if not isinstance(gold, Mapping):
        return gold
    value = _field(gold, field)
    if value is _MISSING:
        raise InputError(
            f"expected the field `{field}` in the expected answer of {_name(row)}, came {_shown(gold)}",
            mend="Label the row with that field, or name another field in `metric`.",
        )
    return value


def _field(value: Json, path: str) -> Json:
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return _MISSING
        value = value[name]
    return value


def _entries(value: Json, by: Sequence[str]) -> Counter[str] | None:
    """The entries of a list as texts that are equal when they are the same entry; None: it is no list."""
    if not isinstance(value, list | tuple):
        return None
    return Counter(canonical(_identity(entry, by)) for entry in value)


def _identity(entry: Json, by: Sequence[str]) -> Json:
    if not by or not isinstance(entry, Mapping):
        return entry
    fields = {name: _field(entry, name) for name in by}
    return {name: None if value is _MISSING else value for name, value in fields.items()}


def _name(row: Row) -> str:
    return f"row {row.key[:12]} ({_shown(row.inputs)[:120]})"


def _listed(entries: Iterable[str]) -> str:
    return _cut("; ".join(sorted(entries)))


def _shown(value: Json) -> str:
    return _cut(written(value))


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}… ({len(text) - SHOWN_CHARS} more characters)"
