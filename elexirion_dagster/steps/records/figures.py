"""Figures over records: count, sum, mean and the like."""

import math
import statistics
from collections.abc import Callable, Mapping
from itertools import accumulate, pairwise
from typing import Any

from elexirion_dagster.errors import InputError
from elexirion_dagster.records import Json
from elexirion_dagster.spec.transform import Aggregate, Function
from elexirion_dagster.steps.records.rows import Rows, identity
from elexirion_dagster.templating.meter import kind, shown


def figures(wanted: Mapping[str, Aggregate], rows: Rows) -> dict[str, Json]:
    """Every figure over all records, by name."""
    return {name: _figure(figure, _values(figure, rows), rows) for name, figure in wanted.items()}


def figures_by_group(wanted: Mapping[str, Aggregate], groups: Rows) -> list[Json]:
    """The groups, each with its figures."""
    places = [(group["key"], index) for group in groups.records for index in range(len(group["items"]))]

    def name(at: int) -> str:
        key, index = places[at]
        return f"record {index + 1} of the group {shown(key)}"

    items = Rows(groups.ctx, [item for group in groups.records for item in group["items"]], name)
    bounds = list(pairwise(accumulate((len(group["items"]) for group in groups.records), initial=0)))
    found: list[dict[str, Json]] = [dict(group) for group in groups.records]
    for word, figure in wanted.items():
        values = _values(figure, items)
        for group, (start, stop) in zip(found, bounds, strict=True):
            part = Rows(groups.ctx, items.records[start:stop], lambda at, start=start: name(start + at))  # type: ignore[misc]
            group[word] = _figure(figure, values[start:stop], part)
    return list(found)


def _values(figure: Aggregate, rows: Rows) -> list[Json]:
    """What a figure is taken of; without `of`, which only a count has, every record counts."""
    return [True] * len(rows.records) if figure.of is None else rows.fields(figure.of)


def _figure(figure: Aggregate, values: list[Json], rows: Rows) -> Json:
    if figure.function in _OF_NUMBERS:
        _check_numbers(figure, values, rows)
    elif figure.function in ("min", "max"):
        rows.check_order(values, str(figure.of))
    try:
        return _FUNCTIONS[figure.function]([value for value in values if value is not None])
    except (TypeError, OverflowError) as error:
        raise InputError(f"{rows.ctx.path}: {figure.function} of {figure.of}: {error}") from error


def _check_numbers(figure: Aggregate, values: list[Json], rows: Rows) -> None:
    for index, value in enumerate(values):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise rows.refuse(index, f"{figure.function} of {figure.of} wants a number, got {kind(value)}")


def _sum(values: list[Any]) -> Json:
    return math.fsum(values) if any(isinstance(value, float) for value in values) else sum(values)


_OF_NUMBERS: frozenset[Function] = frozenset({"sum", "mean", "median", "stddev"})
_FUNCTIONS: dict[Function, Callable[[list[Any]], Json]] = {
    "count": len,
    "count_distinct": lambda values: len({identity(value) for value in values}),
    "sum": _sum,
    "min": lambda values: min(values, default=None),
    "max": lambda values: max(values, default=None),
    "mean": lambda values: math.fsum(values) / len(values) if values else None,
    "median": lambda values: statistics.median(values) if values else None,
    "stddev": lambda values: statistics.stdev(map(float, values)) if len(values) > 1 else None,
    "first": lambda values: values[0] if values else None,
    "last": lambda values: values[-1] if values else None,
    "list": list,
}
