"""Pieces of our own language, with what is needed to put them together: how tightly they bind, what they are."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from elexirion_dagster.dialects.pipeline_ex.expressions.nodes import Constant

Kind = Literal["any", "text", "number", "bool", "list", "moment", "instant", "duration"]
"""`moment` is a point of time as ISO text, `instant` as seconds since 1970, `duration` seconds between two."""

TERNARY, OR, AND, NOT, COMPARE, SUM, JOIN, PRODUCT, POWER, SIGN, ATOM = range(11)
_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_BEYOND_RE2 = re.compile(r"\(\?(?:[=!]|<[=!])|\\\\[1-9]")


@dataclass(frozen=True, slots=True)
class Piece:
    """An expression of ours; `level` is how tightly its outermost operator binds."""

    text: str
    level: int = ATOM
    kind: Kind = "any"
    lookup: bool = False
    """A chain of look-ups, whose last may find nothing."""

    def at(self, level: int) -> str:
        """The text, in parentheses where it would bind less tightly than `level`."""
        return self.text if self.level >= level else f"({self.text})"

    def piped(self, call: str, kind: Kind = "any") -> "Piece":
        """This value through one of our filters."""
        return Piece(f"{self.at(ATOM)} | {call}", ATOM, kind)

    def method(self, call: str, kind: Kind = "any") -> "Piece":
        """This value's method, called."""
        return Piece(f"{self._base()}.{call}", ATOM, kind)

    def as_test(self) -> "Piece":
        """The same text as a comparison."""
        return Piece(self.text, COMPARE, "bool")

    def field(self, name: str | int) -> "Piece":
        """What stands under a key or position of this value."""
        found = f".{name}" if isinstance(name, str) and _WORD.fullmatch(name) else f"[{literal(name)}]"
        return Piece(self._base() + found, lookup=True)

    def entry(self, index: str) -> "Piece":
        """What stands at a computed position, or under a key of a keyed list."""
        return Piece(f"{self._base()}[{index}]", lookup=True)

    def _base(self) -> str:
        """The text as what a field or method is taken of; a filter would take it of its own argument."""
        return f"({self.text})" if " | " in self.text or self.level < ATOM else self.text


def literal(value: Constant) -> str:
    """A constant as our language writes it."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case str():
            return f"'{value.translate(_ESCAPES)}'"
    return repr(value)


def infix(sign: str, left: Piece, right: Piece, level: int, kind: Kind = "any") -> Piece:
    """`left sign right`, grouping to the left."""
    return Piece(f"{left.at(level)} {sign} {right.at(level + 1)}", level, kind)


def instant(piece: Piece) -> Piece:
    """A point of time as seconds, to compute with."""
    return piece if piece.kind in {"instant", "duration"} else piece.piped("timestamp", "instant")


def final(piece: Piece) -> Piece:
    """The value as a reader wants it: a computed point of time as text."""
    return piece.piped("date", "moment") if piece.kind == "instant" else piece


def matched(value: Piece, pattern: Piece, note: Callable[[str], None]) -> Piece:
    """Whether a regular expression is found in a text."""
    if _BEYOND_RE2.search(pattern.text):
        note("regular expressions run on RE2, which has no look-around and no back references")
    return Piece(f"{value.at(ATOM)} is matches({pattern.text})", COMPARE, "bool")
