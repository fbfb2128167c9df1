"""`transform`: reshape a list of records."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from elexirion_dagster.records import Json
from elexirion_dagster.spec.base import BY_FORM, MAP, OTHER, Name, Spec, StepBase
from elexirion_dagster.spec.output import record_schema
from elexirion_dagster.spec.record_path import record_path

Function = Literal["count", "count_distinct", "sum", "min", "max", "mean", "median", "stddev", "first", "last", "list"]
How = Literal["inner", "left", "right", "full", "anti", "semi"]


class Sort(Spec):
    """Order of the records."""

    by: str
    """Expression over `item`, or a field name."""
    order: Literal["asc", "desc"] = "asc"
    """Ascending or descending; records without a value come last."""


class Group(Spec):
    """Records with the same key become one record with `key` and `items`."""

    by: str
    """Expression over `item`, or a field name."""


class Unique(Spec):
    """Of records with the same value the first stays."""

    by: str
    """Expression over `item`, or a field name."""


class Sides(Spec):
    """What must be equal where the two lists name it differently."""

    left: str
    """Expression over `item`, or a field name, of the records at hand."""
    right: str
    """The same of the records in `with`."""


class Join(Spec):
    """Bring each record together with those of another list that agree with it."""

    with_: Json = Field(alias="with")
    """Template that gives the other list, of maps."""
    on: Annotated[Annotated[str, OTHER] | Annotated[Sides, MAP], BY_FORM]
    """What must be equal: an expression over `item` or a field name, or `left` and `right` apart."""
    how: How = "inner"
    """inner: pairs only; left, right, full: also what has no partner there; semi, anti: those with and without one."""
    as_: Name | None = Field(default=None, alias="as")
    """Field that holds the other record (null without one); when absent its fields fill in those the record lacks."""

    @model_validator(mode="after")
    def _nothing_to_nest(self) -> Self:
        if self.as_ is not None and self.how in ("semi", "anti"):
            raise ValueError(f"a {self.how} join takes nothing over from the other list, so `as` has no meaning")
        return self

    def sides(self) -> tuple[str, str]:
        """What must be equal, of the records at hand and of the others."""
        return (self.on, self.on) if isinstance(self.on, str) else (self.on.left, self.on.right)


class Validate(Spec):
    """Check every record."""

    schema_: Json = Field(alias="schema")
    """What a record must be: the short form of `output` (further fields are allowed here), or a JSON Schema."""
    on_error: Literal["fail", "drop", "mark"] = "fail"
    """A record that does not fit: fail the step; leave it out; keep it, with `valid` and `problem` in every record."""

    @field_validator("schema_")
    @classmethod
    def _is_a_schema(cls, schema: Json) -> Json:
        record_schema(schema)
        return schema

    def json_schema(self) -> dict[str, Json]:
        """The JSON Schema of a record."""
        return record_schema(self.schema_)


class Aggregate(Spec):
    """One figure over all records, or over each group's items after `group`."""

    function: Function
    """What to compute."""
    of: str | None = None
    """Expression over `item`, or a field name; `count` counts the records that have it, without it all of them."""

    @model_validator(mode="after")
    def _of_what(self) -> Self:
        if self.of is None and self.function != "count":
            raise ValueError(f"{self.function} needs `of`, the field to take")
        return self


class Operation(Spec):
    """Exactly one of filter, map, sort, group, aggregate, flatten, limit, unique, join, extract, validate."""

    filter: str | None = None
    """Condition over `item`; the records for which it holds stay."""
    map: Json = None
    """What each record becomes: a template, or a map of templates, over `item` and `index`."""
    sort: Annotated[Annotated[Sort, MAP] | Annotated[tuple[Sort, ...], OTHER], BY_FORM] | None = None
    """Put the records in order; a list sorts by the first key, equal ones by the next."""
    group: Group | None = None
    """Gather records with the same key."""
    aggregate: dict[Name, Aggregate] | None = None
    """Figures by name; after `group` each group gains them, otherwise one record is left."""
    flatten: str | None = None
    """Field that holds a list: one record per element, its fields joined to those of the record it came from."""
    limit: int | None = Field(default=None, ge=0)
    """Keep the first so many records."""
    unique: Annotated[Annotated[Unique, MAP] | Annotated[Literal[True], OTHER], BY_FORM] | None = None
    """Keep the first of equal records; `true` compares whole records."""
    join: Join | None = None
    """Bring in another list."""
    extract: str | None = None
    """Path such as `findings[*].message`: each record becomes what it leads to, `[*]` one record for every entry."""
    validate_: Validate | None = Field(default=None, alias="validate")
    """Check the records against a schema."""

    @field_validator("sort")
    @classmethod
    def _by_something(cls, sort: Sort | tuple[Sort, ...] | None) -> Sort | tuple[Sort, ...] | None:
        if sort == ():
            raise ValueError("sort needs at least one key, such as {by: path}")
        return sort

    @field_validator("extract")
    @classmethod
    def _is_a_path(cls, path: str | None) -> str | None:
        if path is not None:
            record_path(path)
        return path

    @model_validator(mode="after")
    def _one_operation(self) -> Self:
        given = [name for name in self.model_fields_set if name == "map" or getattr(self, name) is not None]
        if len(given) != 1 or len(self.model_fields_set) != 1:
            words = ", ".join(field.alias or name for name, field in type(self).model_fields.items())
            raise ValueError(f"an operation has exactly one of {words}")
        return self

    def sort_keys(self) -> tuple[Sort, ...]:
        """What to sort by, most important first; nothing when this is no sort."""
        return (self.sort,) if isinstance(self.sort, Sort) else self.sort or ()


class TransformStep(StepBase):
    """Take a list of records through operations, in order; the outcome is `data`."""

    templates: ClassVar[tuple[str, ...]] = ("from_",)

    type: Literal["transform"]
    from_: Json = Field(alias="from")
    """Template that gives a list."""
    ops: tuple[Operation, ...] = Field(min_length=1)
    """The operations, first to last."""

    @model_validator(mode="after")
    def _list_to_the_end(self) -> Self:
        for operation, grouped in zip(self.ops[:-1], self.grouped(), strict=False):
            if operation.aggregate is not None and not grouped:
                raise ValueError("an aggregate without a group leaves one record, so no operation can follow it")
        return self

    def grouped(self) -> tuple[bool, ...]:
        """For each operation whether its records are groups, which an aggregate then works on one by one."""
        found, now = [], False
        for operation in self.ops:
            found.append(now)
            reshaped = any(part is not None for part in (operation.map, operation.flatten, operation.extract))
            reshaped = reshaped or (operation.join is not None and operation.join.how in ("right", "full"))
            now = operation.group is not None or (now and not reshaped)
        return tuple(found)
