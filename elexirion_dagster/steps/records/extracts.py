"""What a path leads to inside records."""

from collections.abc import Iterator, Mapping, Sequence

from elexirion_dagster.records import Json
from elexirion_dagster.spec.record_path import Part, record_path
from elexirion_dagster.steps.records.rows import Rows, check_count
from elexirion_dagster.templating.meter import describe_missing, kind


def extracted(path: str, rows: Rows) -> list[Json]:
    """Each record's values at the path: one, or with `[*]` one for every entry. A missing one is an InputError."""
    parts = record_path(path)
    found: list[Json] = []
    for index, record in rows:
        try:
            found += _values(record, parts, "it")
        except LookupError as error:
            mend = "Put ? after a field's name to leave out records without it, or filter them out before."
            raise rows.refuse(index, f"extract {path}: {error.args[0]}", mend=mend) from error
        check_count(rows.ctx, len(found), "extract")
    return found


def _values(value: Json, parts: Sequence[Part], place: str) -> Iterator[Json]:
    """The values below one; LookupError says what is missing at which place."""
    if not parts:
        yield value
        return
    part, rest = parts[0], parts[1:]
    if part.every:
        if not isinstance(value, list):
            raise LookupError(f"{place} is {kind(value)}, and [*] wants a list")
        for at, entry in enumerate(value):
            yield from _values(entry, rest, f"{place}[{at}]")
        return
    present, inner = _look_up(value, part.key)
    if not present and not (part.optional and isinstance(value, Mapping)):
        raise LookupError(describe_missing(place, value, part.key))
    if not part.optional or inner is not None:
        yield from _values(inner, rest, f"{place}{part}")


def _look_up(value: Json, key: str | int) -> tuple[bool, Json]:
    if isinstance(key, str):
        return (True, value[key]) if isinstance(value, Mapping) and key in value else (False, None)
    if isinstance(value, list) and -len(value) <= key < len(value):
        return True, value[key]
    return False, None
