"""What earlier scans know: files as they were scanned, findings by state, nights in numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from elexirion_dagster.records import Json
from elexirion_dagster.store.home import Home

if TYPE_CHECKING:
    from elexirion_dagster.store.database import Rows

State = Literal["new", "open", "fixed", "reopened", "suppressed"]

_FILES = """
SELECT path, blob, ruleset, model, prompt_version, scanned_at, status FROM files
WHERE pipeline = ? AND repo = ? AND scanned_at IS NOT NULL AND status <> 'deleted'
"""
_NEXT = "SELECT coalesce(max(night), 0) + 1 FROM batches WHERE pipeline = ? AND repo = ?"


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file as its last scan that did not fail saw it; `status` is the last attempt's: scanned, failed, excluded."""

    blob: str
    ruleset: str
    model: str | None
    prompt_version: str | None
    scanned_at: datetime
    status: str


def known_files(home: Home, pipeline: str, repo: str) -> Mapping[str, KnownFile]:
    """What is known of each file by its path; renamed files under their new name, deleted ones not at all.

    The journal's news are loaded first, so that nothing is scanned twice.
    """
    rows = _fresh(home, _FILES, [pipeline, repo]).rows
    return {path: KnownFile(*facts) for path, *facts in rows}


def next_night(home: Home, pipeline: str, repo: str) -> int:
    """The number of a scan that begins now; its `scanned` lines carry it as `night`."""
    ((number,),) = _fresh(home, _NEXT, [pipeline, repo]).rows
    return int(number)


def _fresh(home: Home, sql: str, params: Sequence[Json]) -> "Rows":
    from elexirion_dagster.store import database  # noqa: PLC0415  brings in duckdb: over 100 ms measured

    database.ingest(home)
    return database.query(home, sql, params)
