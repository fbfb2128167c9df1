"""`sql`: one SELECT over earlier results."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from elexirion_dagster.records import Json
from elexirion_dagster.spec.base import BY_FORM, MAP, OTHER, Name, Spec, StepBase

ColumnType = Literal["string", "integer", "number", "boolean", "object"]


class Table(Spec):
    """A list as a table, with columns that are there whatever the records hold."""

    from_: Json = Field(alias="from")
    """Template that gives a list of maps, or of plain values, which become the column `value`."""
    columns: dict[str, ColumnType] = Field(min_length=1)
    """Columns by name with their type; `object` is anything, as JSON. Fields not named here become columns too."""


TableForm = Annotated[Annotated[Table, MAP] | Annotated[str | list[Json], OTHER], BY_FORM]


class SqlStep(StepBase):
    """Ask one DuckDB SELECT about earlier results; `data` is the list of its rows, each a map by column name."""

    templates: ClassVar[tuple[str, ...]] = ("tables", "parameters")

    type: Literal["sql"]
    tables: dict[Name, TableForm] = {}
    """Tables by name: a template that gives a list of maps or plain values, or a map with `from` and `columns`."""
    query: str = Field(min_length=1)
    """One SELECT, as written: not a template. Values come in as `$name` from `parameters`."""
    parameters: dict[Name, Json] = {}
    """Values for `$name` in the query; strings are templates."""
    max_rows: int = Field(default=10_000, ge=1, le=1_000_000)
    """Most rows of the answer; more is an error, never a silent cut."""

    @field_validator("query")
    @classmethod
    def _no_template(cls, query: str) -> str:
        if "{{" in query or "{%" in query:
            raise ValueError(
                'query is not a template: write $name, and name: "{{ … }}" under parameters (tables go under tables)'
            )
        return query
