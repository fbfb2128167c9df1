"""What SQL answers, as JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from elexirion_dagster.errors import InputError
from elexirion_dagster.records import Json

_MOST_CHARS = 100_000_000


class Cells:
    """Turns rows into records: dates as ISO text, intervals as seconds, decimals as numbers, NaN and infinity as null.

    `columns` are (name, DuckDB type) pairs. Names that stand twice and bytes are refused.
    """

    def __init__(self, columns: Sequence[tuple[str, Any]]) -> None:
        self._names = [name for name, _ in columns]
        self._types = [kind if "JSON" in str(kind) else None for _, kind in columns]
        self._chars = 0
        twice = next((name for at, name in enumerate(self._names) if name in self._names[:at]), None)
        if twice is not None:
            raise InputError(
                f"the answer has two columns named {twice!r}", mend=f"Name one of them: … AS other_{twice}."
            )

    def record(self, row: Sequence[Any]) -> dict[str, Json]:
        """One row by column name."""
        triples = zip(self._names, row, self._types, strict=True)
        return {name: self._value(value, kind, name) for name, value, kind in triples}

    def _value(self, value: Any, kind: Any, name: str) -> Json:  # noqa: PLR0911 - one return per kind of value
        match value:
            case None | bool() | int():
                return value
            case float():
                return value if math.isfinite(value) else None
            case str():
                self._count(len(value))
                return json.loads(value) if str(kind) == "JSON" else value
            case Mapping():
                self._count(8 * len(value))
                return {str(key): self._value(inner, _inside(kind, str(key)), name) for key, inner in value.items()}
            case list() | tuple():
                self._count(8 * len(value))
                inside = _inside(kind, "child")
                return [self._value(inner, inside, name) for inner in value]
            case datetime() | date() | time():
                return value.isoformat()
            case timedelta():
                return value.total_seconds()
            case Decimal():
                return self._value(int(value) if value == value.to_integral_value() else float(value), None, name)
            case UUID():
                return str(value)
        raise InputError(
            f"the column {name} has {type(value).__name__}, which JSON cannot hold",
            mend="Turn it into text in the query: hex(…) for bytes, …::VARCHAR otherwise.",
        )

    def _count(self, chars: int) -> None:
        self._chars += chars
        if self._chars > _MOST_CHARS:
            raise InputError(
                f"the answer is longer than {_MOST_CHARS // 1_000_000} million characters",
                mend="Ask for fewer columns or rows.",
            )


def _inside(kind: Any, part: str) -> Any:
    """The type of a struct's field, a map's value, or a list's entry (`child`); None where no JSON is inside."""
    if kind is None or "JSON" not in str(kind):
        return None
    return dict(kind.children).get("value" if kind.id == "map" else part)
