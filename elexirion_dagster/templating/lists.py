"""Filters and methods of lists and maps; every one answers with a list, never with a generator."""

# ruff: noqa: FBT001, FBT002 - templates may pass these by position, as with Jinja's own filters

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from jinja2.runtime import Context
from jinja2.utils import pass_context

from elexirion_dagster.errors import ExpressionError
from elexirion_dagster.templating.comparing import compare, weigh
from elexirion_dagster.templating.meter import METER, Missing, dump_json, entries, kind, made, present, shown
from elexirion_dagster.templating.numbers import as_number
from elexirion_dagster.templating.over import OVER_FILTERS

_MAX_COLUMNS = 1_000
_MAX_PARTS = 100


def dig(item: Any, attribute: str | int | None) -> Any:
    """Follow a dotted path; a missing step makes the whole path missing."""
    if attribute is None:
        return item
    look_up = METER.get().look_up
    parts: list[Any] = attribute.split(".", _MAX_PARTS) if isinstance(attribute, str) else [attribute]
    for part in parts:
        item = look_up(item, int(part) if isinstance(part, str) and part.isdecimal() else part)
    return item


def _key(attribute: str | int | None, *, case_sensitive: bool) -> Callable[[Any], Any]:
    def key(item: Any) -> Any:
        METER.get().add_items(1)
        value = present(dig(item, attribute))
        weigh(value)
        return value if case_sensitive or not isinstance(value, str) else value.lower()

    return key


def _sort(
    value: Any,
    reverse: bool = False,
    case_sensitive: bool = False,
    attribute: str | int | None = None,
) -> list[Any]:
    names = attribute.split(",") if isinstance(attribute, str) else [attribute]
    keys = [_key(name.strip() if isinstance(name, str) else name, case_sensitive=case_sensitive) for name in names]
    return sorted(entries(value), key=lambda item: tuple(key(item) for key in keys), reverse=reverse)


def _dictsort(
    value: Mapping[str, Any], case_sensitive: bool = False, by: str = "key", reverse: bool = False
) -> list[Any]:
    key = _key(1 if by == "value" else 0, case_sensitive=case_sensitive)
    return sorted(_pairs(value), key=key, reverse=reverse)


def _pairs(value: Any) -> list[Any]:
    if not isinstance(present(value), Mapping):
        raise ExpressionError(f"expected a map, got {kind(value)}")
    METER.get().add_items(len(value))
    return [[key, item] for key, item in value.items()]


def _identity(value: Any) -> Any:
    """Make a value comparable and hashable."""
    return value if isinstance(value, str | int | float) else (kind(value), dump_json(value))


def _unique(value: Any, case_sensitive: bool = False, attribute: str | int | None = None) -> list[Any]:
    key = _key(attribute, case_sensitive=case_sensitive)
    found: dict[Any, Any] = {}
    for item in entries(value):
        found.setdefault(_identity(key(item)), item)
    return list(found.values())


class Group(NamedTuple):
    """One group of `groupby`: `for grouper, list in …`, or by field."""

    grouper: Any
    list: list[Any]


def _groupby(value: Any, attribute: str | int, default: Any = None) -> list[Group]:
    groups: dict[Any, list[Any]] = {}
    shown: dict[Any, Any] = {}
    for item in entries(value):
        grouper = dig(item, attribute)
        grouper = default if isinstance(grouper, Missing) and default is not None else present(grouper)
        shown.setdefault(_identity(grouper), grouper)
        groups.setdefault(_identity(grouper), []).append(item)
    return [Group(shown[key], groups[key]) for key in sorted(groups, key=_order)]


def _order(key: Any) -> tuple[str, Any]:
    return (kind(key), key)


def _extreme(choose: Callable[..., Any]) -> Callable[..., Any]:
    def apply(value: Any, case_sensitive: bool = False, attribute: str | int | None = None) -> Any:
        found = entries(value)
        key = _key(attribute, case_sensitive=case_sensitive)
        return choose(found, key=key) if found else Missing("the list is empty")

    return apply


def _sum(value: Any, attribute: str | int | None = None, start: float = 0) -> int | float:
    return sum((as_number(dig(item, attribute)) for item in entries(value)), as_number(start))


def _mean(value: Any, attribute: str | int | None = None) -> Any:
    found = entries(value)
    return _sum(found, attribute) / len(found) if found else Missing("the list is empty")


def _merge(value: Any, *others: Any) -> dict[Any, Any]:
    """Lay maps over one another: of the same key the last one counts."""
    return {key: item for one in (value, *others) for key, item in _pairs(one)}


def _end(at: int) -> Callable[[Any], Any]:
    def apply(value: Any) -> Any:
        found = entries(value)
        return found[at] if found else Missing("the list is empty")

    return apply


def _length(value: Any) -> int:
    if isinstance(present(value), str | list | tuple | Mapping | range):
        return len(value)
    raise ExpressionError(f"{kind(value)} has no length")


def _reverse(value: Any) -> Any:
    return made(value[::-1]) if isinstance(value, str) else list(entries(value))[::-1]


def _size(value: int, most: int) -> int:
    if not isinstance(value, int) or not 1 <= value <= most:
        raise ExpressionError(f"expected a whole number from 1 to {most:,}, got {shown(value)}")
    return value


def _batch(value: Any, size: int, fill_with: Any = None) -> list[list[Any]]:
    found = list(entries(value))
    size = _size(size, METER.get().bounds.max_items)
    rows = [found[at : at + size] for at in range(0, len(found), size)]
    if rows and fill_with is not None:
        METER.get().add_items(size)
        rows[-1] += [fill_with] * (size - len(rows[-1]))
    return rows


def _columns(value: Any, count: int, fill_with: Any = None) -> list[list[Any]]:
    found = list(entries(value))
    count = _size(count, _MAX_COLUMNS)
    size, extra = divmod(len(found), count)
    starts = [at * size + min(at, extra) for at in range(count + 1)]
    rows = [found[start:stop] for start, stop in itertools.pairwise(starts)]
    return [[*row, fill_with] if fill_with is not None and extra and len(row) == size else row for row in rows]


def _default(value: Any, default: Any = "", boolean: bool = False) -> Any:
    return default if isinstance(value, Missing) or (boolean and not value) else value


@pass_context
def _map(context: Context, value: Any, name: str | None = None, *args: Any, **kwargs: Any) -> list[Any]:
    found = entries(value)
    if name is not None:
        if name in OVER_FILTERS or name.startswith(":"):
            raise ExpressionError(f"map cannot take {name!r}", mend="Write items | each('item | where(…)').")
        call = context.environment.call_filter
        return [call(name, item, list(args), kwargs, context) for item in found]
    if unknown := set(kwargs) - {"attribute", "default"}:
        raise ExpressionError(
            f"map does not take {min(unknown)!r}", mend="Write map('filter') or map(attribute='name')."
        )
    dug = [dig(item, kwargs["attribute"]) for item in found]
    return (
        [_default(item, kwargs["default"]) for item in dug] if "default" in kwargs else [present(item) for item in dug]
    )


def _choose(*, keep: bool, by_attribute: bool) -> Callable[..., Any]:
    @pass_context
    def apply(context: Context, value: Any, *args: Any) -> list[Any]:
        attribute, rest = (args[0], args[1:]) if by_attribute else (None, args)
        return [item for item in entries(value) if _passes(context, dig(item, attribute), rest) is keep]

    return apply


def _passes(context: Context, value: Any, args: Sequence[Any]) -> bool:
    METER.get().add_items(1)
    if not args:
        return not isinstance(value, Missing) and bool(value)
    return bool(context.environment.call_test(args[0], value, list(args[1:]), {}, context))


def _index(value: Any, item: Any) -> int:
    found = next((at for at, entry in enumerate(entries(value)) if compare(entry, "eq", item)), None)
    if found is None:
        raise ExpressionError("the entry is not in the list")
    return found


LIST_METHODS: Mapping[str, Callable[..., Any]] = {
    "count": lambda value, item: sum(compare(entry, "eq", item) for entry in entries(value)),
    "index": _index,
}
MAP_METHODS: Mapping[str, Callable[..., Any]] = {
    "get": lambda value, key, default=None: _default(METER.get().look_up(value, key), default),
    "items": _pairs,
    "keys": lambda value: list(entries(value)),
    "values": lambda value: [item for _, item in _pairs(value)],
}
LIST_FILTERS: Mapping[str, Callable[..., Any]] = {
    "batch": _batch,
    "count": _length,
    "d": _default,
    "default": _default,
    "dictsort": _dictsort,
    "first": _end(0),
    "groupby": _groupby,
    "items": _pairs,
    "last": _end(-1),
    "length": _length,
    "list": lambda value: list(entries(value)),
    "map": _map,
    "max": _extreme(max),
    "mean": _mean,
    "merge": _merge,
    "min": _extreme(min),
    "reject": _choose(keep=False, by_attribute=False),
    "rejectattr": _choose(keep=False, by_attribute=True),
    "reverse": _reverse,
    "select": _choose(keep=True, by_attribute=False),
    "selectattr": _choose(keep=True, by_attribute=True),
    "slice": _columns,
    "sort": _sort,
    "sum": _sum,
    "unique": _unique,
}
