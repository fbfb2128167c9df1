"""Arithmetic, bounded: numbers of a few thousand bits, texts and lists within the evaluation's meter."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

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
