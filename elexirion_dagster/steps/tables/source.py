"""Lists of records as tables: which columns they have, of which type, and their rows as JSON."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from elexirion_dagster.errors import InputError
from elexirion_dagster.records import Json
from elexirion_dagster.spec.sql import ColumnType, Table
from elexirion_dagster.steps.context import StepContext
from elexirion_dagster.steps.records.rows import Rows
from elexirion_dagster.steps.tables.shapes import NULL, Shape, merged, settled, shape
from elexirion_dagster.templating.meter import kind

_DECLARED: Mapping[ColumnType, str] = {
    "string": "VARCHAR",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "object": "JSON",
}
_MOST_COLUMNS = 1_000
_ROWS_AT_ONCE = 1_000


@dataclass(slots=True)
class Source:
    """One table to be: its columns by name, the column that counts its rows, and its rows."""

    name: str
    rows: Rows
    columns: dict[str, Shape] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether nothing says which columns there are: an empty list without `columns`."""
        return not self.rows.records and not self.columns

    @property
    def row_column(self) -> str:
        """A name for the number of the row that is no column's; a table needs at least one column."""
        name = "row"
        while name.lower() in {column.lower() for column in self.columns}:
            name += "_"
        return name

    def stored(self) -> dict[str, Shape]:
        """The columns that hold something."""
        return {self.row_column: "BIGINT", **{name: of for name, of in self.columns.items() if of != NULL}}

    def batches(self) -> Iterator[str]:
        """The rows as JSON arrays, some at a time."""
        number = self.row_column
        lines: list[Json] = []
        for index, record in self.rows:
            lines.append({**(record if isinstance(record, Mapping) else {"value": record}), number: index})
            if len(lines) == _ROWS_AT_ONCE:
                yield _dumped(lines, self.rows, index)
                lines = []
        if lines:
            yield _dumped(lines, self.rows, len(self.rows.records) - 1)


def source(name: str, form: Table | Json, ctx: StepContext) -> Source:
    """The table that a step names. InputError when its records cannot be one."""
    declared = form.columns if isinstance(form, Table) else {}
    records = ctx.evaluate(form.from_ if isinstance(form, Table) else form)
    if not isinstance(records, list):
        raise InputError(f"{ctx.path}: table {name} must be a list, got {kind(records)}", mend="Refer to a list.")
    rows = Rows(ctx, records, lambda index: f"record {index + 1} of table {name}")
    found = Source(name, rows, dict.fromkeys(declared, NULL))
    for index, record in rows:
        fields = record if _is_map(rows, index, record) else {"value": record}
        for column, value in fields.items():
            of = shape(value)
            if column in declared:
                _check_declared(rows, index, column, declared[column], of)
            elif column in found.columns:
                found.columns[column] = merged(found.columns[column], of)
            else:
                found.columns[column] = of
                _check_width(found, index)
    _check_names(found)
    for column, word in declared.items():
        found.columns[column] = _DECLARED[word]
    found.columns = {column: settled(of, top=True) for column, of in found.columns.items()}
    return found


def _is_map(rows: Rows, index: int, record: Json) -> bool:
    """Whether the record has fields; all of a table's records must agree in that."""
    is_map = isinstance(record, Mapping)
    if is_map is not isinstance(rows.records[0], Mapping):
        message = f"it is {kind(record)}, {rows.name(0)} is {kind(rows.records[0])}"
        raise rows.refuse(index, message, mend="Make them alike with a transform.")
    return is_map


def _check_declared(rows: Rows, index: int, column: str, declared: ColumnType, of: Shape) -> None:
    wanted = _DECLARED[declared]
    if wanted != "JSON" and of not in (NULL, wanted) and (of, wanted) != ("BIGINT", "DOUBLE"):
        value = rows.records[index][column] if isinstance(rows.records[index], Mapping) else rows.records[index]
        raise rows.refuse(index, f"the column {column} is declared {declared}, and here it is {kind(value)}")


def _check_width(found: Source, index: int) -> None:
    if len(found.columns) > _MOST_COLUMNS:
        mend = "Turn maps whose keys are data into lists of records first."
        raise found.rows.refuse(index, f"the table would have more than {_MOST_COLUMNS:,} columns", mend=mend)


def _check_names(found: Source) -> None:
    seen: dict[str, str] = {}
    for column in found.columns:
        other = seen.setdefault(column.lower(), column)
        if other != column or not column or "\x00" in column:
            what = f"the fields {other!r} and {column!r} differ" if other != column else f"the field {column!r} differs"
            message = f"{found.rows.ctx.path}: table {found.name}: {what} in nothing that SQL tells apart"
            raise InputError(message, mend="Rename it with a transform's map.")


def _dumped(lines: list[Json], rows: Rows, last: int) -> str:
    try:
        return json.dumps(lines, allow_nan=False)
    except ValueError as error:
        first = last + 1 - len(lines)
        message = f"in it or the {len(lines) - 1} after it is a number that is not finite"
        raise rows.refuse(first, message, mend="Leave it out, or make it null.") from error
