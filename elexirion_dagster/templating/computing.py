"""Arithmetic, bounded: numbers of a few thousand bits, texts and lists within the evaluation's meter."""

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from elexirion_dagster.errors import ExpressionError
from elexirion_dagster.templating.meter import METER, kind
from elexirion_dagster.templating.texts import format_text

_MAX_NUMBER_BITS = 4_096
_NUMBER_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}


def compute(sign: str, left: Any, right: Any) -> Any:
    """Compute `left sign right`: numbers, texts joined or repeated, lists joined or repeated, `%` formats."""
    match sign, left, right:
        case _, int() | float(), int() | float():
            return _compute_numbers(sign, left, right)
        case "+", str(), str():
            METER.get().add_chars(len(left) + len(right))
        case "+", list() | tuple(), list() | tuple():
            METER.get().add_items(len(left) + len(right))
            return [*left, *right]
        case ("*", str() | list(), int()) | ("*", int(), str() | list()):
            return _repeat(left, right) if isinstance(right, int) else _repeat(right, left)
        case "%", str(), _:
            return format_text(left, *(right if isinstance(right, list | tuple) else (right,)))
        case _:
            _cannot(sign, left, right)
    return left + right


def _cannot(sign: str, left: Any, right: Any) -> NoReturn:
    mend = "Join texts with ~." if sign == "+" else None
    raise ExpressionError(f"cannot compute {kind(left)} {sign} {kind(right)}", mend=mend)


def _repeat(value: str | list[Any], times: int) -> str | list[Any]:
    meter = METER.get()
    (meter.add_chars if isinstance(value, str) else meter.add_items)(len(value) * max(times, 0))
    return value * times


def _compute_numbers(sign: str, left: float, right: float) -> float:
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * abs(right) if sign == "**" else left.bit_length() + right.bit_length()
        if bits > _MAX_NUMBER_BITS:
            raise ExpressionError(f"the number has more than {_MAX_NUMBER_BITS:,} bits")
    result = _NUMBER_OPERATORS[sign](left, right)
    if isinstance(result, complex) or not math.isfinite(result):
        raise ExpressionError(f"{left!r} {sign} {right!r} is not a finite number")
    return result  # type: ignore[no-any-return]
