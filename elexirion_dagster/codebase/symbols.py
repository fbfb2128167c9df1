"""Which definition a line stands in, by how lines begin and are indented.

A parser would know better, but a file that does not parse tonight would then change the name of everything in it.
"""

from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

import re2  # type: ignore[import-untyped]  # google-re2 ships no types

_MAX_LINE = 400
_NO_CODE = ("#", "//", "*", "/*", ")", "]", "}", "--")
_WORDS = (
    r"(?:export |default |public |private |protected |internal |static |final |abstract |async |unsafe |override |"
    r"virtual |sealed |inline |const |extern |pub(?:\([a-z ]*\))? )*"
)
_PLAIN = (
    "def|defp|defmacro|defmacrop|defmodule|defimpl|defprotocol|class|interface|trait|struct|enum|module|mod|namespace|"
    r"fn|fun|function\*?|type|object|record|sub|package"
)
_LAMBDA = r"(?:function\b.*|\([^()]*\)[^=]*=>.*|\w+ *=>.*)"
_DEFINITIONS = "|".join(
    (
        rf"{_WORDS}(?:{_PLAIN}) +(?P<plain>[\w$.?!:]+)",
        r"func +(?:\([^()]*\) *)?(?P<go>\w+)",
        r"(?:unsafe )?impl\b(?:<[^<>{}]*>)? *(?P<rust>[\w:<>,&' ]+?) *(?:where\b.*)?\{?$",
        rf"{_WORDS}(?:let |var )?(?P<arrow>[\w$]+) *(?::[^=]*)?= *(?:async *)?{_LAMBDA}",
        rf"{_WORDS}(?:[\w<>\[\],.?]+ +)?(?P<method>[\w$]+) *\([^;]*\)[^;=]*\{{$",
    )
)
_STATEMENTS = frozenset({"if", "for", "while", "switch", "catch", "return", "else", "match", "with", "synchronized"})


def enclosing(lines: Sequence[str], wanted: Collection[int]) -> dict[int, str]:
    """The dotted names of the definitions around each wanted 1-based line, "" outside of all."""
    found: dict[int, str] = {}
    stack: list[tuple[int, str]] = []
    last = max(wanted, default=0)
    for number in range(1, last + 1):
        line = lines[number - 1] if number <= len(lines) else ""
        code = line[:_MAX_LINE].strip()
        if code and not code.startswith(_NO_CODE):
            indent = len(line) - len(line.lstrip())
            while stack and stack[-1][0] >= indent:
                stack.pop()
            if name := _defined(code):
                stack.append((indent, name))
        if number in wanted:
            found[number] = ".".join(name for _, name in stack)
    return found


def _defined(code: str) -> str | None:
    match = _definition().match(code.encode("utf-8", "replace").decode())
    if match is None:
        return None
    name = next(value for value in match.groups() if value is not None)
    return None if name in _STATEMENTS else name.strip().rstrip(":")


@cache
def _definition() -> Any:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(_DEFINITIONS, options)
