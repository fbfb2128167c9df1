"""The records under an operation of a transform: expressions over them, and what makes two values the same."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from elexirion_dagster.errors import ExpressionError, InputError
from elexirion_dagster.records import Json
from elexirion_dagster.spec.references import as_expression
from elexirion_dagster.steps.context import StepContext
from elexirion_dagster.templating.meter import describe_missing, kind

MOST_RECORDS = 500_000
"""What flatten, extract and join may make of a list; a join of 500,000 pairs takes about a second."""
_EVERY = 1_024
_ABSENT = object()


def numbered(index: int) -> str:
    """What messages call the record at a position."""
    return f"record {index + 1}"


@dataclass(frozen=True, slots=True)
class Rows:
    """Records, the step they belong to, and how messages name each."""

    ctx: StepContext
    records: list[Json]
    name: Callable[[int], str] = numbered

    def __iter__(self) -> Iterator[tuple[int, Json]]:
        """Positions and records; ends with an error when the step is cancelled or out of time."""
        for index, record in enumerate(self.records):
            if index % _EVERY == 0:
                self.ctx.go_on()
            yield index, record

    def holds(self, condition: str, index: int, record: Json) -> bool:
        """Whether a condition over `item` holds for a record."""
        try:
            return self.ctx.shared.engine.condition(condition, self._scope(index, record))
        except ExpressionError as error:
            raise self._at(index, error) from error

    def evaluate(self, value: Json, index: int, record: Json) -> Json:
        """A template over `item`, or a tree of them."""
        try:
            return self.ctx.shared.engine.evaluate_tree(value, self._scope(index, record))
        except ExpressionError as error:
            raise self._at(index, error) from error

    def fields(self, by: str) -> list[Json]:
        """The value of a field or expression for every record, None where a record lacks the field.

        A field that not one record has is an InputError: it is misspelt, or the list is another than was thought.
        """
        values = [self._field(by, index, record) for index, record in self]
        if values and all(value is _ABSENT for value in values):
            said = describe_missing(self.name(0), self.records[0], by.split(".", maxsplit=1)[0])
            mend = f"Name a field that the records have, or write {{{{ item.{by} | default(none) }}}}."
            raise InputError(f"{self.ctx.path}: no record has the field {by!r}: {said}", mend=mend)
        return [None if value is _ABSENT else value for value in values]

    def refuse(self, index: int, message: str, *, mend: str | None = None) -> InputError:
        """The error for one record."""
        return InputError(f"{self.ctx.path}: {self.name(index)}: {message}", mend=mend)

    def check_order(self, values: list[Json], what: str) -> None:
        """Refuse values that have no order among them; None counts as no value."""
        kinds: dict[str, int] = {}
        for index, value in enumerate(values):
            if value is not None:
                kinds.setdefault(kind(value), index)
        if "a map" in kinds:
            raise self.refuse(kinds["a map"], f"{what} is a map, and maps have no order")
        if len(kinds) > 1:
            (first, _), (other, at), *_ = kinds.items()
            mend = f"Make them alike, as with {{{{ item.{what} | string }}}}."
            raise self.refuse(at, f"{what} is {other}, {first} before: they cannot be ordered", mend=mend)

    def _field(self, by: str, index: int, record: Json) -> Any:
        expression = as_expression(by)
        try:
            return self.evaluate(expression, index, record)
        except ExpressionError:
            if expression != by and isinstance(record, dict) and by.split(".", maxsplit=1)[0] not in record:
                return _ABSENT
            raise

    def _scope(self, index: int, record: Json) -> Mapping[str, Any]:
        return {**self.ctx.scope, "item": record, "index": index}

    def _at(self, index: int, error: ExpressionError) -> ExpressionError:
        return ExpressionError(f"{self.name(index)}: {error.message}", mend=error.mend)


def identity(value: Json) -> Hashable:
    """What is equal for equal JSON values and only for them: 1 is 1.0, true is not 1, the order of keys is free."""
    match value:
        case bool():
            return "bool", value
        case Mapping():
            return "map", frozenset((key, identity(inner)) for key, inner in value.items())
        case list() | tuple():
            return "list", tuple(identity(inner) for inner in value)
        case _:
            return value  # type: ignore[no-any-return]  # texts, numbers, None


def check_count(ctx: StepContext, count: int, word: str) -> None:
    """Refuse to make more records than one step may hold."""
    if count > MOST_RECORDS:
        raise InputError(
            f"{ctx.path}: {word} would make {count:,} records, at most {MOST_RECORDS:,} are allowed",
            mend="Filter before it, or ask for something narrower.",
        )
