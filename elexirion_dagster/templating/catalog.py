"""Every filter, test and method of the expression language."""

from collections.abc import Callable, Mapping
from typing import Any

from jinja2.runtime import LoopContext

from elexirion_dagster.templating.comparing import comparison
from elexirion_dagster.templating.lists import LIST_FILTERS, LIST_METHODS, MAP_METHODS
from elexirion_dagster.templating.meter import Missing, present
from elexirion_dagster.templating.numbers import NUMBER_FILTERS, as_number
from elexirion_dagster.templating.over import OVER_FILTERS
from elexirion_dagster.templating.regex import REGEX_FILTERS, matches
from elexirion_dagster.templating.texts import TEXT_FILTERS, TEXT_METHODS
from elexirion_dagster.templating.times import TIME_FILTERS


def _is_a(*types: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(present(value), types)


def _is_number(value: Any, *types: type) -> bool:
    return isinstance(present(value), types or (int, float)) and not isinstance(value, bool)


FILTERS: Mapping[str, Callable[..., Any]] = {
    **LIST_FILTERS,
    **NUMBER_FILTERS,
    **OVER_FILTERS,
    **REGEX_FILTERS,
    **TEXT_FILTERS,
    **TIME_FILTERS,
}
METHODS: Mapping[type | tuple[type, ...], Mapping[str, Callable[..., Any]]] = {
    str: TEXT_METHODS,
    (list, tuple, range): LIST_METHODS,
    Mapping: MAP_METHODS,
    LoopContext: {"cycle": LoopContext.cycle},
}
_COMPARISONS: Mapping[str, Callable[..., Any]] = {
    **dict.fromkeys(("eq", "equalto", "=="), comparison("eq")),
    **dict.fromkeys(("ne", "!="), comparison("ne")),
    **dict.fromkeys(("gt", "greaterthan", ">"), comparison("gt")),
    **dict.fromkeys(("ge", ">="), comparison("gteq")),
    **dict.fromkeys(("lt", "lessthan", "<"), comparison("lt")),
    **dict.fromkeys(("le", "<="), comparison("lteq")),
}
TESTS: Mapping[str, Callable[..., Any]] = {
    **_COMPARISONS,
    "boolean": _is_a(bool),
    "defined": lambda value: not isinstance(value, Missing),
    "divisibleby": lambda value, number: as_number(value) % as_number(number) == 0,
    "empty": lambda value: present(value) is None or (isinstance(value, str | list | tuple | Mapping) and not value),
    "even": lambda value: as_number(value) % 2 == 0,
    "false": lambda value: present(value) is False,
    "float": lambda value: _is_number(value, float),
    "in": comparison("in"),
    "integer": lambda value: _is_number(value, int),
    "iterable": _is_a(str, list, tuple, Mapping, range),
    "lower": lambda value: isinstance(present(value), str) and value.islower(),
    "mapping": _is_a(Mapping),
    "matches": matches,
    "none": lambda value: present(value) is None,
    "number": _is_number,
    "odd": lambda value: as_number(value) % 2 == 1,
    "sequence": _is_a(str, list, tuple, range),
    "string": _is_a(str),
    "true": lambda value: present(value) is True,
    "undefined": lambda value: isinstance(value, Missing),
    "upper": lambda value: isinstance(present(value), str) and value.isupper(),
}
