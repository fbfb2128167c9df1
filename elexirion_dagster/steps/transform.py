"""Reshape a list of records: filter, map, sort, group, aggregate, flatten, limit."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from elexirion_dagster.errors import ExpressionError, InputError
from elexirion_dagster.records import Json, StepResult
from elexirion_dagster.spec.references import as_expression
from elexirion_dagster.spec.transform import Aggregate, Function, Group, Operation, Sort, TransformStep
from elexirion_dagster.steps.context import StepContext


def run(step: TransformStep, ctx: StepContext) -> StepResult:
    """Apply the operations in order; `data` is what is left."""
    records = ctx.evaluate(step.from_)
    if not isinstance(records, list):
        raise InputError(f"from of {ctx.path} must be a list, got {type(records).__name__}", mend="Refer to a list.")
    value: Json = list(records)
    for operation in step.ops:
        ctx.go_on()
        value = _Applied(ctx, value).apply(operation)
    return StepResult("succeeded", data=value)


class _Applied:
    """One operation on one list."""

    def __init__(self, ctx: StepContext, records: Json) -> None:
        if not isinstance(records, list):
            raise InputError(f"{ctx.path}: nothing can follow an aggregate without a group", mend="Put aggregate last.")
        self._ctx = ctx
        self._records: list[Json] = records

    def apply(self, operation: Operation) -> Json:
        if operation.filter is not None:
            condition = operation.filter
            return [record for index, record in enumerate(self._records) if self._holds(condition, index, record)]
        if operation.sort is not None:
            return self._sorted(operation.sort)
        if operation.group is not None:
            return self._grouped(operation.group)
        if operation.aggregate is not None:
            return self._aggregated(operation.aggregate)
        if operation.flatten is not None:
            return [flat for record in self._records for flat in self._flattened(operation.flatten, record)]
        if operation.limit is not None:
            return self._records[: operation.limit]
        return [self._evaluate(operation.map, index, record) for index, record in enumerate(self._records)]

    def _scope(self, index: int, record: Json) -> Mapping[str, Any]:
        return {**self._ctx.scope, "item": record, "index": index}

    def _holds(self, condition: str, index: int, record: Json) -> bool:
        return self._ctx.shared.engine.condition(condition, self._scope(index, record))

    def _evaluate(self, value: Json, index: int, record: Json) -> Json:
        return self._ctx.shared.engine.evaluate_tree(value, self._scope(index, record))

    def _field(self, by: str, record: Json) -> Json:
        """The value of a field or expression; None where the record has no such field."""
        expression = as_expression(by)
        try:
            return self._evaluate(expression, 0, record)
        except ExpressionError:
            if expression != by and isinstance(record, dict) and by.split(".")[0] not in record:
                return None
            raise

    def _sorted(self, sort: Sort) -> list[Json]:
        keyed = [(self._field(sort.by, record), record) for record in self._records]
        present = [pair for pair in keyed if pair[0] is not None]
        absent = [record for key, record in keyed if key is None]
        try:
            present.sort(key=lambda pair: pair[0], reverse=sort.order == "desc")
        except TypeError as error:
            raise InputError(f"{self._ctx.path}: {sort.by} has values that cannot be ordered: {error}") from error
        return [record for _, record in present] + absent

    def _flattened(self, name: str, record: Json) -> list[Json]:
        elements = record.get(name) if isinstance(record, dict) else None
        if not isinstance(elements, list):
            raise InputError(
                f"{self._ctx.path}: flatten needs records with a list {name!r}",
                mend="Name the field that holds a list.",
            )
        rest = {key: value for key, value in record.items() if key != name}
        return [{**rest, **(element if isinstance(element, dict) else {name: element})} for element in elements]

    def _grouped(self, group: Group) -> list[Json]:
        groups: dict[str, dict[str, Json]] = {}
        for record in self._records:
            key = self._field(group.by, record)
            groups.setdefault(repr(key), {"key": key, "items": []})["items"].append(record)
        return list(groups.values())

    def _aggregated(self, figures: Mapping[str, Aggregate]) -> Json:
        grouped = bool(self._records) and all(isinstance(r, dict) and set(r) >= {"key", "items"} for r in self._records)
        if grouped:
            return [{**record, **self._figures(figures, record["items"])} for record in self._records]
        return self._figures(figures, self._records)

    def _figures(self, figures: Mapping[str, Aggregate], records: Sequence[Json]) -> dict[str, Json]:
        return {name: self._figure(figure, records) for name, figure in figures.items()}

    def _figure(self, figure: Aggregate, records: Sequence[Json]) -> Json:
        if figure.function == "count":
            return len(records)
        if figure.of is None:
            raise InputError(
                f"{self._ctx.path}: {figure.function} needs `of`, the field to take", mend="Add of: <field>."
            )
        values = [value for record in records if (value := self._field(figure.of, record)) is not None]
        try:
            return _FUNCTIONS[figure.function](values)
        except TypeError as error:
            raise InputError(f"{self._ctx.path}: {figure.function} of {figure.of}: {error}") from error


_FUNCTIONS: dict[Function, Callable[[list[Any]], Json]] = {
    "sum": lambda values: math.fsum(values) if any(isinstance(v, float) for v in values) else sum(values),
    "min": lambda values: min(values, default=None),
    "max": lambda values: max(values, default=None),
    "mean": lambda values: math.fsum(values) / len(values) if values else None,
    "first": lambda values: values[0] if values else None,
    "last": lambda values: values[-1] if values else None,
    "list": list,
}
