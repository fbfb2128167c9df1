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
    for operation, grouped in zip(step.ops, step.grouped(), strict=True):
        ctx.go_on()
        value = _Applied(ctx, value, grouped=grouped).apply(operation)
    return StepResult("succeeded", data=ctx.shared.redactor.tree(value))


class _Applied:
    """One operation on one list; `grouped` says that its records are groups."""

    def __init__(self, ctx: StepContext, records: list[Json], *, grouped: bool) -> None:
        self._ctx = ctx
        self._records = records
        self._grouped_already = grouped

    def apply(self, operation: Operation) -> Json:  # noqa: PLR0911 - one return per operation
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
        try:
            return self._ctx.shared.engine.condition(condition, self._scope(index, record))
        except ExpressionError as error:
            raise _at(index, error) from error

    def _evaluate(self, value: Json, index: int, record: Json) -> Json:
        try:
            return self._ctx.shared.engine.evaluate_tree(value, self._scope(index, record))
        except ExpressionError as error:
            raise _at(index, error) from error

    def _field(self, by: str, index: int, record: Json) -> Json:
        """The value of a field or expression; None where the record has no such field."""
        expression = as_expression(by)
        try:
            return self._evaluate(expression, index, record)
        except ExpressionError:
            if expression != by and isinstance(record, dict) and by.split(".", maxsplit=1)[0] not in record:
                return None
            raise

    def _sorted(self, sort: Sort) -> list[Json]:
        keyed = [(self._field(sort.by, index, record), record) for index, record in enumerate(self._records)]
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
        for index, record in enumerate(self._records):
            key = self._field(group.by, index, record)
            groups.setdefault(repr(key), {"key": key, "items": []})["items"].append(record)
        return list(groups.values())

    def _aggregated(self, figures: Mapping[str, Aggregate]) -> Json:
        if self._grouped_already:
            return [{**record, **self._figures(figures, record["items"])} for record in self._records]
        return self._figures(figures, self._records)

    def _figures(self, figures: Mapping[str, Aggregate], records: Sequence[Json]) -> dict[str, Json]:
        return {name: self._figure(figure, records) for name, figure in figures.items()}

    def _figure(self, figure: Aggregate, records: Sequence[Json]) -> Json:
        if figure.function == "count":
            return len(records)
        of = figure.of or ""
        found = (self._field(of, index, record) for index, record in enumerate(records))
        values = [value for value in found if value is not None]
        try:
            return _FUNCTIONS[figure.function](values)
        except (TypeError, OverflowError) as error:
            raise InputError(f"{self._ctx.path}: {figure.function} of {of}: {error}") from error


def _at(index: int, error: ExpressionError) -> ExpressionError:
    return ExpressionError(f"record {index + 1}: {error.message}", mend=error.mend)


_FUNCTIONS: dict[Function, Callable[[list[Any]], Json]] = {
    "sum": lambda values: math.fsum(values) if any(isinstance(v, float) for v in values) else sum(values),
    "min": lambda values: min(values, default=None),
    "max": lambda values: max(values, default=None),
    "mean": lambda values: math.fsum(values) / len(values) if values else None,
    "first": lambda values: values[0] if values else None,
    "last": lambda values: values[-1] if values else None,
    "list": list,
}
