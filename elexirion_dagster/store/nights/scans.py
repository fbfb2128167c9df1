"""What earlier scans know: files as they were scanned, findings by state, nights in numbers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from elexirion_dagster.records import FindingState, Json
from elexirion_dagster.store.home import Home

if TYPE_CHECKING:
    from elexirion_dagster.store.database import Rows

_FILES = """
SELECT path, coalesce(blob, '') AS blob, ruleset, model, prompt_version, scanned_at, status FROM files
WHERE pipeline = ? AND repo = ? AND scanned_at IS NOT NULL AND status <> 'deleted'
"""
_NEXT = "SELECT coalesce(max(night), 0) + 1 FROM batches WHERE pipeline = ? AND repo = ?"
_WORST = "list_position(['critical', 'high', 'medium', 'low', 'info'], severity)"
_WITH_STATES = f"""
FROM finding_states WHERE list_contains(?::VARCHAR[], state)
ORDER BY {_WORST}, state <> 'new', repo, path, line, fingerprint, pipeline
"""
_WITH_FINGERPRINT = """
FROM finding_states WHERE len(list_filter(known_as, lambda mark: starts_with(mark, ?))) > 0
ORDER BY repo, path, line, fingerprint, pipeline
"""
_OF_REPOSITORY = "FROM finding_states WHERE pipeline = ? AND repo = ? ORDER BY path, line, fingerprint"
_NEWEST = """
FROM scans WHERE pipeline = ? QUALIFY row_number() OVER (PARTITION BY repo ORDER BY position DESC) = 1 ORDER BY repo
"""
_UNSCANNED = """
SELECT repo, path, status, reason FROM files
WHERE pipeline = ? AND (status = 'failed' OR (status = 'excluded' AND coalesce(reason, '') = '')) ORDER BY repo, path
"""
_SEEN = "SELECT path FROM files WHERE pipeline = ? AND repo = ? AND status <> 'deleted'"
_NIGHTS = "FROM scans WHERE pipeline = ? AND repo = ? ORDER BY position DESC LIMIT ?"


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file as its last scan that did not fail saw it; `status` is the last attempt's: scanned, failed, excluded.

    `blob` is "" for a file that was excluded unread.
    """

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


def with_states(home: Home, states: Sequence[FindingState]) -> list[dict[str, Json]]:
    """The findings in these states as records, the worst first, as the last ingest left them."""
    return _records(home, _WITH_STATES, [list(states)])


def with_fingerprint(home: Home, beginning: str) -> list[dict[str, Json]]:
    """The findings that have, or had, a fingerprint with this beginning."""
    return _records(home, _WITH_FINGERPRINT, [beginning])


def of_repository(home: Home, pipeline: str, repo: str) -> list[dict[str, Json]]:
    """All findings of a repository that a pipeline has ever reported, in the order of the code."""
    return _records(home, _OF_REPOSITORY, [pipeline, repo])


def nights(home: Home, pipeline: str, repo: str, *, limit: int = 100) -> list[dict[str, Json]]:
    """The newest scans in numbers, oldest first: the columns of the view `scans`."""
    return _records(home, _NIGHTS, [pipeline, repo, limit])[::-1]


def newest(home: Home, pipeline: str) -> list[dict[str, Json]]:
    """The newest scan of each repository: rows of the view `scans`."""
    return _records(home, _NEWEST, [pipeline])


def unscanned(home: Home, pipeline: str) -> list[dict[str, Json]]:
    """Files whose last scan failed, or that were excluded without a reason: repo, path, status, reason."""
    return _records(home, _UNSCANNED, [pipeline])


def seen_paths(home: Home, pipeline: str, repo: str) -> frozenset[str]:
    """Every file that a scan came to, whatever became of it, and that was not deleted since."""
    return frozenset(row["path"] for row in _records(home, _SEEN, [pipeline, repo]))


def _records(home: Home, sql: str, params: Sequence[Json]) -> list[dict[str, Json]]:
    from elexirion_dagster.store import database  # noqa: PLC0415  brings in duckdb: over 100 ms measured

    answer = database.query(home, sql, params)
    rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
    return [{**row, "fix": json.loads(row["fix"])} if row.get("fix") else row for row in rows]
