"""What type a column has that holds certain JSON values."""

from collections.abc import Mapping
from functools import reduce

from elexirion_dagster.errors import InputError
from elexirion_dagster.records import Json
from elexirion_dagster.templating.meter import kind

Shape = str | dict[str, "Shape"] | list["Shape"]
"""A type as DuckDB's from_json takes it: a name, fields by name, or a one-element list."""

NULL = "NULL"
"""Where nothing but null was seen."""
_NOTHING: Shape = NULL
_SCALARS = frozenset({"BOOLEAN", "BIGINT", "DOUBLE", "VARCHAR"})
_BIGINT = range(-(2**63), 2**63)
_MOST_FIELDS = 100
_MOST_DEPTH = 32


def shape(value: Json, depth: int = 0) -> Shape:  # noqa: PLR0911 - one return per kind of value
    """The shape of one value."""
    match value:
        case None:
            return NULL
        case bool():
            return "BOOLEAN"
        case int():
            return "BIGINT" if value in _BIGINT else "DOUBLE"
        case float():
            return "DOUBLE"
        case str():
            return "VARCHAR"
        case _ if depth >= _MOST_DEPTH:
            return "JSON"
        case list():
            return [reduce(merged, (shape(inner, depth + 1) for inner in value), _NOTHING)]
        case Mapping():
            return _struct({key: shape(inner, depth + 1) for key, inner in value.items()})
    raise InputError(f"{kind(value)} is not a value that a table can hold")


def _struct(fields: dict[str, Shape]) -> Shape:
    """Fields by name, or JSON where DuckDB could not tell them apart or they look like keys rather than fields."""
    distinct = {name.lower() for name in fields}
    fits = len(distinct) == len(fields) <= _MOST_FIELDS and "" not in distinct
    return fields if fits else "JSON"


def merged(one: Shape, other: Shape) -> Shape:  # noqa: PLR0911 - one return per pair of kinds
    """The narrowest shape that holds both."""
    if other in (one, NULL):
        return one
    if one == NULL:
        return other
    match one, other:
        case dict(), dict():
            names = dict.fromkeys((*one, *other))
            return _struct({name: merged(one.get(name, NULL), other.get(name, NULL)) for name in names})
        case [first], [second]:
            return [merged(first, second)]
        case str(), str() if {one, other} <= {"BIGINT", "DOUBLE"}:
            return "DOUBLE"
        case str(), str() if {one, other} <= _SCALARS:
            return "VARCHAR"
    return "JSON"


def settled(of: Shape, *, top: bool = False) -> Shape:
    """The shape with something definite where nothing was seen; a column of nulls stays as it is."""
    match of:
        case str():
            return "JSON" if of == NULL and not top else of
        case [inner]:
            return [settled(inner)]
        case dict() if of:
            return {name: settled(inner) for name, inner in of.items()}
    return "JSON"


def sql_type(of: Shape) -> str:
    """The type as SQL writes it."""
    match of:
        case str():
            return of
        case dict():
            return f"STRUCT({', '.join(f'{quoted(name)} {sql_type(inner)}' for name, inner in of.items())})"
        case _:
            return f"{sql_type(of[0])}[]"


def quoted(name: str) -> str:
    """A name as SQL writes it, whatever stands in it."""
    return '"' + name.replace('"', '""') + '"'
