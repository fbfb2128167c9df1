"""Every filter, test and method of the expression language."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from jinja2.runtime import LoopContext

from elexirion_dagster.templating.lists import LIST_FILTERS, LIST_METHODS, MAP_METHODS
from elexirion_dagster.templating.meter import Missing, present
from elexirion_dagster.templating.numbers import NUMBER_FILTERS, as_number
from elexirion_dagster.templating.regex import REGEX_FILTERS, matches
from elexirion_dagster.templating.texts import TEXT_FILTERS, TEXT_METHODS


def _present(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda value, *args: function(present(value), *map(present, args))


def _is_a(*types: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(present(value), types)


def _is_number(value: Any, *types: type) -> bool:
    return isinstance(present(value), types or (int, float)) and not isinstance(value, bool)


FILTERS: Mapping[str, Callable[..., Any]] = {**LIST_FILTERS, **NUMBER_FILTERS, **REGEX_FILTERS, **TEXT_FILTERS}
METHODS: Mapping[type | tuple[type, ...], Mapping[str, Callable[..., Any]]] = {
    str: TEXT_METHODS,
    (list, tuple, range): LIST_METHODS,
    Mapping: MAP_METHODS,
    LoopContext: {"changed": LoopContext.changed, "cycle": LoopContext.cycle},
}
_COMPARISONS: Mapping[str, Callable[..., Any]] = {
    **dict.fromkeys(("eq", "equalto", "=="), _present(operator.eq)),
    **dict.fromkeys(("ne", "!="), _present(operator.ne)),
    **dict.fromkeys(("gt", "greaterthan", ">"), _present(operator.gt)),
    **dict.fromkeys(("ge", ">="), _present(operator.ge)),
    **dict.fromkeys(("lt", "lessthan", "<"), _present(operator.lt)),
    **dict.fromkeys(("le", "<="), _present(operator.le)),
}
TESTS: Mapping[str, Callable[..., Any]] = {
    **_COMPARISONS,
    "boolean": _is_a(bool),
    "defined": lambda value: not isinstance(value, Missing),
    "divisibleby": lambda value, number: as_number(value) % as_number(number) == 0,
    "even": lambda value: as_number(value) % 2 == 0,
    "false": lambda value: present(value) is False,
    "float": lambda value: _is_number(value, float),
    "in": _present(lambda value, container: value in container),
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
