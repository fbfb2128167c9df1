"""Filters and methods that make text."""

# ruff: noqa: FBT001, FBT002 - templates may pass these by position, as with Jinja's own filters

import functools
import hashlib
import html
import json
import math
import posixpath
import re
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

from elexirion_dagster.errors import ExpressionError
from elexirion_dagster.templating.lists import dig
from elexirion_dagster.templating.meter import METER, Missing, dump_json, entries, kind, made, present, shown, text
from elexirion_dagster.templating.numbers import as_number

_MAX_WIDTH = 1_000
_SPEC = re.compile(
    r"%(?:\((?P<key>\w+)\))?(?P<flags>[-+ 0#]{0,3})(?P<width>\d{0,3})(?:\.(?P<digits>\d{0,3}))?(?P<as>.)"
)


def _width(value: int, most: int = _MAX_WIDTH) -> int:
    if not isinstance(value, int) or not 0 <= value <= most:
        raise ExpressionError(f"expected a whole number from 0 to {most:,}, got {shown(value)}")
    return value


def _on_text(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method of `str` a filter and method: its result is counted, its arguments are plain."""

    @functools.wraps(function)
    def apply(value: Any, *args: Any) -> Any:
        for arg in args:
            if isinstance(arg, str) and len(arg) > _MAX_WIDTH:
                raise ExpressionError(f"expected at most {_MAX_WIDTH:,} characters to look for, got {len(arg):,}")
        result = function(made(text(value)), *(tuple(arg) if isinstance(arg, list) else arg for arg in args))
        if isinstance(result, list):
            METER.get().add_items(len(result))
        return made(result) if isinstance(result, str) else result

    return apply


def _replace(value: Any, old: str, new: str, count: int = -1) -> str:
    shown, old, new = text(value), text(old), text(new)
    found = shown.count(old) if count < 0 else min(count, shown.count(old))
    METER.get().add_chars(len(shown) + found * max(len(new) - len(old), 0))
    return shown.replace(old, new, count)


def _join(value: Any, separator: str = "", attribute: str | int | None = None) -> str:
    parts = [text(item if attribute is None else present(dig(item, attribute))) for item in entries(value)]
    METER.get().add_chars(sum(map(len, parts)) + len(separator) * len(parts))
    return separator.join(parts)


def _center(value: Any, width: int = 80) -> str:
    return made(text(value).center(_width(width)))


def _zfill(value: str, width: int) -> str:
    return made(value.zfill(_width(width)))


def _indent(value: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    margin = " " * _width(width) if isinstance(width, int) else width
    lines = text(value).split("\n")
    METER.get().add_chars(sum(map(len, lines)) + len(lines) * (len(margin) + 1))
    return "\n".join(margin + line if (line or blank) and (first or at) else line for at, line in enumerate(lines))


def _truncate(value: Any, length: int = 255, killwords: bool = False, end: str = "...", leeway: int = 5) -> str:
    shown = text(value)
    if len(shown) <= length + leeway:
        return shown
    cut = shown[: max(length - len(end), 0)]
    return made((cut if killwords else cut.rsplit(" ", 1)[0]) + end)


def _title(value: Any) -> str:
    return made(re.sub(r"[^-\s({\[<]+", lambda word: word.group()[0].upper() + word.group()[1:].lower(), text(value)))


def format_text(pattern: str, *args: Any) -> str:
    """Fill `%s`, `%d`, `%.2f`, `%(name)s` … in; widths and precisions have at most three digits."""
    values = iter(args)
    named = args[0] if len(args) == 1 and isinstance(args[0], Mapping) else {}

    def one(found: re.Match[str]) -> str:
        if found["as"] == "%":
            return "%"
        if found["as"] not in "sdifFeEgGxXo":
            raise ExpressionError(
                f"'{found.group()}' is not a format", mend="Known are %s, %d, %f, %e, %g, %x, %o, %%."
            )
        value = present(named[found["key"]] if found["key"] else next(values, Missing(f"no value for {found.group()}")))
        digits = "" if found["digits"] is None else f".{found['digits']}"
        shown = f"%{found['flags']}{found['width']}{digits}{found['as']}"
        return made(shown % (text(value) if found["as"] == "s" else as_number(value)))

    return made(_SPEC.sub(one, pattern))


def _from_json(value: str) -> Any:
    if not isinstance(present(value), str):
        raise ExpressionError(f"expected JSON text, got {kind(value)}")
    try:
        return json.loads(made(value), parse_constant=_finite, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise ExpressionError(f"not JSON: {error}", mend="Ask for `output:` instead of parsing text.") from error


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isfinite(number):
        return number
    raise ExpressionError(f"not JSON: {shown(digits)} is not a finite number")


TEXT_METHODS: Mapping[str, Callable[..., Any]] = {
    **{
        name: _on_text(getattr(str, name))
        for name in (
            *("lower", "upper", "capitalize", "strip", "lstrip", "rstrip", "removeprefix", "removesuffix"),
            *("startswith", "endswith", "split", "rsplit", "splitlines", "count", "find", "index"),
            *("isdigit", "isalpha", "isalnum", "isspace", "islower", "isupper"),
        )
    },
    "center": _center,
    "join": lambda separator, values: _join(values, separator),
    "replace": _replace,
    "title": _title,
    "zfill": _zfill,
}
TEXT_FILTERS: Mapping[str, Callable[..., Any]] = {
    "basename": _on_text(posixpath.basename),
    "capitalize": _on_text(str.capitalize),
    "center": _center,
    "dirname": _on_text(posixpath.dirname),
    "e": _on_text(html.escape),
    "escape": _on_text(html.escape),
    "format": format_text,
    "from_json": _from_json,
    "indent": _indent,
    "join": _join,
    "json": dump_json,
    "lower": _on_text(str.lower),
    "replace": _replace,
    "sha256": lambda value: hashlib.sha256(made(text(value)).encode(errors="replace")).hexdigest(),
    "string": lambda value: made(text(value)),
    "title": _title,
    "tojson": dump_json,
    "trim": _on_text(str.strip),
    "truncate": _truncate,
    "upper": _on_text(str.upper),
    "urlencode": _on_text(urllib.parse.quote),
    "wordcount": lambda value: len(_on_text(str.split)(value)),
}
