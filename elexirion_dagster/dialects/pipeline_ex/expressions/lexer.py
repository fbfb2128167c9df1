"""Words and signs of pipeline_ex's expressions."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from elexirion_dagster.errors import ExpressionError

TokenKind = Literal["number", "text", "name", "sign", "end"]
_MAX_CHARS = 10_000
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>\d+(?:\.\d+)?)
    | (?P<text>"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+')
    | (?P<name>[^\W\d]\w*(?:-\w+)*)
    | (?P<sign>\{\{|\}\}|===|!==|==|!=|>=|<=|=>|&&|\|\||[-+*/%<>!?:|,.()\[\]{}@$])
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"""\\(["'])""")


@dataclass(frozen=True, slots=True)
class Token:
    """One word or sign; a text without its quotes."""

    kind: TokenKind
    text: str
    at: int
    end: int


def tokens(source: str, known: Callable[[str], bool]) -> list[Token]:
    """Split an expression; `known` tells names with hyphens from subtractions. Raises ExpressionError."""
    if len(source) > _MAX_CHARS:
        raise ExpressionError(f"the expression is longer than {_MAX_CHARS:,} characters")
    return [*_tokens(source, known), Token("end", "", len(source), len(source))]


def _tokens(source: str, known: Callable[[str], bool]) -> Iterator[Token]:
    at, length = 0, len(source.rstrip())
    while at < length:
        match = _TOKEN.match(source, at)
        if match is None:
            raise ExpressionError(f"cannot read {source[at : at + 20].strip()!r} at character {at + 1}")
        kind = match.lastgroup
        text, begin, end = match[str(kind)], match.start(str(kind)), match.end()
        if kind == "name":
            text = _name(text, known)
            end = begin + len(text)
            yield Token("name", text, begin, end)
        elif kind == "text":
            yield Token("text", _ESCAPE.sub(r"\1", text[1:-1]), begin, end)
        else:
            yield Token("number" if kind == "number" else "sign", text, begin, end)
        at = end


def _name(text: str, known: Callable[[str], bool]) -> str:
    """The longest declared name that the text begins with; `a-b` of undeclared names is a name, `a-1` is not."""
    pieces = text.split("-")
    for count in range(len(pieces), 0, -1):
        if known(name := "-".join(pieces[:count])):
            return name
    if any(known(piece) or piece[:1].isdecimal() for piece in pieces):
        return pieces[0]
    return text
