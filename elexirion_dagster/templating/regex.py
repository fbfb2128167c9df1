"""Regular expressions on RE2: linear time, whatever the pattern."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import re2  # type: ignore[import-untyped]  # google-re2 ships no types

from elexirion_dagster.errors import ExpressionError
from elexirion_dagster.templating.meter import METER, kind, present

_MAX_PATTERN = 1_000
_MAX_WORK = 500_000_000  # states times characters, RE2's worst case: about two seconds


def _pattern(value: str, pattern: str) -> Any:
    if not isinstance(present(value), str) or not isinstance(present(pattern), str):
        raise ExpressionError(f"expected a text and a pattern, got {kind(value)} and {kind(pattern)}")
    if len(pattern) > _MAX_PATTERN:
        raise ExpressionError(f"the regular expression is longer than {_MAX_PATTERN:,} characters")
    METER.get().check_time()
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 22
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else error
        raise ExpressionError(f"the regular expression is not RE2: {reason}") from error
    if compiled.programsize * len(value) > _MAX_WORK:
        raise ExpressionError("the regular expression is too costly for a text of this length")
    return compiled


def matches(value: str, pattern: str) -> bool:
    """Whether the pattern is found anywhere in the text; anchor it with ^ and $."""
    return _pattern(value, pattern).search(value) is not None


def _found(value: str, pattern: str) -> Iterator[Any]:
    meter = METER.get()
    for match in _pattern(value, pattern).finditer(value):
        meter.add_items(1)
        yield match


def _shape(match: Any) -> Any:
    groups = [group or "" for group in match.groups()]
    return match.group() if not groups else groups[0] if len(groups) == 1 else groups


def _regex_search(value: str, pattern: str) -> Any:
    return next((_shape(match) for match in _found(value, pattern)), None)


def _regex_findall(value: str, pattern: str) -> list[Any]:
    return [_shape(match) for match in _found(value, pattern)]


def _regex_replace(value: str, pattern: str, new: str) -> str:
    pieces, end = [], 0
    for match in _found(value, pattern):
        pieces += [value[end : match.start()], _expand(new, match)]
        METER.get().add_chars(len(pieces[-1]) + len(pieces[-2]))
        end = match.end()
    return "".join([*pieces, value[end:]])


def _expand(new: str, match: Any) -> str:
    return re.sub(r"\\([0-9])", lambda found: match.group(int(found[1])) or "", new)


REGEX_FILTERS: Mapping[str, Callable[..., Any]] = {
    "matches": matches,
    "regex_findall": _regex_findall,
    "regex_replace": _regex_replace,
    "regex_search": _regex_search,
}
