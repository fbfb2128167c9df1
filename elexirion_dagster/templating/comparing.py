"""Comparisons, bounded: a value made of itself many times over would take for ever to compare."""

import operator
from collections.abc import Callable, Mapping, Sized
from typing import Any

from elexirion_dagster.errors import ExpressionError
from elexirion_dagster.templating.meter import METER, kind, present

_MAX_DEPTH = 100
_LARGE_TEXT = 1_000
_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
    "in": lambda item, container: item in container,
    "notin": lambda item, container: item not in container,
}


def compare(left: Any, *rest: Any) -> bool:
    """Compare a chain of values: `compare(a, "lt", b, "lt", c)` is `a < b < c`."""
    for sign, right in zip(rest[::2], rest[1::2], strict=True):
        if not _holds(sign, present(left), present(right)):
            return False
        left = right
    return True


def comparison(sign: str) -> Callable[[Any, Any], bool]:
    """Make a test of one sign."""
    return lambda left, right: compare(left, sign, right)


def weigh(value: Any, depth: int = 0) -> None:
    """Count every entry that a comparison of this value may look at."""
    if not isinstance(value, list | tuple | Mapping):
        return
    if depth > _MAX_DEPTH:
        raise ExpressionError(f"the value is nested deeper than {_MAX_DEPTH} levels")
    METER.get().add_items(len(value))
    for item in value.values() if isinstance(value, Mapping) else value:
        weigh(item, depth + 1)


def _holds(sign: str, left: Any, right: Any) -> bool:
    if isinstance(left, str):
        if isinstance(right, Sized) and len(right) > _LARGE_TEXT:
            METER.get().check_time()
    elif isinstance(left, list | tuple | Mapping) and isinstance(right, list | tuple | Mapping):
        if sign in {"eq", "ne"} and len(left) != len(right):
            return sign == "ne"
        weigh(left)
        weigh(right)
    try:
        return bool(_OPERATORS[sign](left, right))
    except TypeError as error:
        raise ExpressionError(f"cannot compare {kind(left)} with {kind(right)}") from error
