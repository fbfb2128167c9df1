"""Filters for points of time: ISO text, seconds since 1970, and formats."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from elexirion_dagster.errors import ExpressionError
from elexirion_dagster.templating.meter import kind, made, present, shown

_MAX_FORMAT = 100
_FORMAT = re.compile(r"%(.?)", re.DOTALL)
_KNOWN = frozenset("YmdHMSyjbBaApIfz%")


def _moment(value: Any) -> datetime:
    if not isinstance(present(value), str | int | float) or isinstance(value, bool):
        raise ExpressionError(f"expected a point of time, got {kind(value)}")
    try:
        if isinstance(value, str):
            read = datetime.fromisoformat(value.strip())
            return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ExpressionError(f"{shown(value)} is not a point of time", mend=_MEND) from error


_MEND = "Write it as 2026-11-23T10:00:00+00:00, or as seconds since 1970."


def _timestamp(value: Any) -> float:
    """Seconds since 1970 of a text such as run.started_at; without a zone it is UTC."""
    return _moment(value).timestamp()


def _date(value: Any, pattern: str | None = None) -> str:
    """A point of time as text in UTC: ISO 8601, or as a format such as `%Y-%m-%d` says."""
    moment = _moment(value)
    if pattern is None:
        return moment.isoformat()
    if not isinstance(present(pattern), str) or len(pattern) > _MAX_FORMAT:
        raise ExpressionError(f"expected a format of at most {_MAX_FORMAT} characters, got {kind(pattern)}")
    unknown = next((found for found in _FORMAT.findall(pattern) if found not in _KNOWN or not found), None)
    if unknown is not None:
        raise ExpressionError(
            f"'%{unknown}' is no part of a date", mend="Known are %Y %m %d %H %M %S %j %y %b %B %a %A."
        )
    return made(_FORMAT.sub(lambda found: moment.strftime(found.group()), pattern))


TIME_FILTERS: Mapping[str, Callable[..., Any]] = {"date": _date, "timestamp": _timestamp}
