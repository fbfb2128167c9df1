"""Filters that make numbers."""

import math
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from elexirion_dagster.errors import ExpressionError
from elexirion_dagster.templating.meter import kind, present, shown

_MAX_DIGITS = 30
_MAX_NUMBER_CHARS = 1_000
_WHOLE = 2**53  # from here on a float has no fraction


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
    if method == "half_up":
        return _half_up(as_number(value), precision)
    if method not in {"ceil", "floor"}:
        raise ExpressionError(f"expected 'common', 'half_up', 'ceil' or 'floor', got {shown(method)}")
    shift = float(10**precision)
    cut = math.ceil if method == "ceil" else math.floor
    return cut(as_number(value) * shift) / shift


def _half_up(value: float, precision: int) -> float:
    """Round a half away from zero, as taught at school; 'common' rounds it to the even neighbour."""
    if precision >= 0 and (isinstance(value, int) or abs(value) >= _WHOLE):
        return value
    if abs(value) >= _WHOLE:
        return round(value, precision)
    return float(Decimal(repr(value)).quantize(Decimal(1).scaleb(-precision), ROUND_HALF_UP))


NUMBER_FILTERS: Mapping[str, Callable[..., Any]] = {
    "abs": lambda value: abs(as_number(value)),
    "float": _float,
    "int": _int,
    "round": _round,
}
