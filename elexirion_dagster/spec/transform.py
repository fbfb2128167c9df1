"""`transform`: reshape a list of records."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from elexirion_dagster.records import Json
from elexirion_dagster.spec.base import Name, Spec, StepBase

Function = Literal["count", "sum", "min", "max", "mean", "first", "last", "list"]


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


class Aggregate(Spec):
    """One figure over all records, or over each group's items after `group`."""

    function: Function
    """What to compute."""
    of: str | None = None
    """Expression over `item`, or a field name; not needed for `count`."""

    @model_validator(mode="after")
    def _of_what(self) -> Self:
        if self.of is None and self.function != "count":
            raise ValueError(f"{self.function} needs `of`, the field to take")
        return self


class Operation(Spec):
    """Exactly one of filter, map, sort, group, aggregate, flatten, limit."""

    filter: str | None = None
    """Condition over `item`; the records for which it holds stay."""
    map: Json = None
    """What each record becomes: a template, or a map of templates, over `item` and `index`."""
    sort: Sort | None = None
    """Put the records in order."""
    group: Group | None = None
    """Gather records with the same key."""
    aggregate: dict[Name, Aggregate] | None = None
    """Figures by name; after `group` each group gains them, otherwise one record is left."""
    flatten: str | None = None
    """Field that holds a list: one record per element, its fields joined to those of the record it came from."""
    limit: int | None = Field(default=None, ge=0)
    """Keep the first so many records."""

    @model_validator(mode="after")
    def _one_operation(self) -> Self:
        given = [name for name in self.model_fields_set if name == "map" or getattr(self, name) is not None]
        if len(given) != 1 or len(self.model_fields_set) != 1:
            raise ValueError("an operation has exactly one of filter, map, sort, group, aggregate, flatten, limit")
        return self


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
            reshaped = operation.map is not None or operation.flatten is not None
            now = operation.group is not None or (now and not reshaped)
        return tuple(found)
