"""Filters that make numbers."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from elexirion_dagster.errors import ExpressionError
from elexirion_dagster.templating.meter import kind, present, shown

_MAX_DIGITS = 30
_MAX_NUMBER_CHARS = 1_000


def as_number(value: Any) -> int | float:
    """Return a number; raises ExpressionError on anything else."""
    if isinstance(present(value), int | float):
        return value  # type: ignore[no-any-return]
    raise ExpressionError(f"expected a number, got {kind(value)}")


def _int(value: Any, default: Any = 0, base: int = 10) -> Any:
    try:
        if isinstance(present(value), str):
            return int(value[:_MAX_NUMBER_CHARS], base) if len(value) <= _MAX_NUMBER_CHARS else default
        return int(value)
    except (ValueError, TypeError, OverflowError):
        number = _float(value, None)
        return default if number is None else int(number)


def _float(value: Any, default: Any = 0.0) -> Any:
    try:
        number = float(present(value))
    except (ValueError, TypeError, OverflowError):
        return default
    return number if math.isfinite(number) else default


def _round(value: Any, precision: int = 0, method: str = "common") -> int | float:
    if not -_MAX_DIGITS <= precision <= _MAX_DIGITS:
        raise ExpressionError(f"expected a precision from -{_MAX_DIGITS} to {_MAX_DIGITS}, got {shown(precision)}")
    if method == "common":
        return round(as_number(value), precision)
    if method not in {"ceil", "floor"}:
        raise ExpressionError(f"expected 'common', 'ceil' or 'floor', got {shown(method)}")
    shift = float(10**precision)
    cut = math.ceil if method == "ceil" else math.floor
    return cut(as_number(value) * shift) / shift


NUMBER_FILTERS: Mapping[str, Callable[..., Any]] = {
    "abs": lambda value: abs(as_number(value)),
    "float": _float,
    "int": _int,
    "round": _round,
}
