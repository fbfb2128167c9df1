"""Facts of earlier scans that help to plan the next one; `scans.known_files` has loaded the journal's news before."""

from collections.abc import Mapping

from elexirion_dagster.records import Json
from elexirion_dagster.store.home import Home

_COMMIT = 'SELECT arg_max("commit", ts) FROM batches WHERE pipeline = ? AND repo = ? AND "commit" IS NOT NULL'
_COST = """
SELECT sum(cost_usd) / nullif(sum(scanned), 0) FROM scans
WHERE pipeline = ? AND repo = ? AND model IS NOT NULL AND calls > 0
"""
_SCANNED = "SELECT count(DISTINCT path) FROM batch_files WHERE run = ? AND status = 'scanned'"
_FOUND = """
WITH asked AS (
    SELECT unnest(?::VARCHAR[]) AS path, unnest(?::VARCHAR[]) AS blob
), looked AS (
    SELECT DISTINCT root_run, path FROM batch_files JOIN asked USING (path, blob)
    WHERE pipeline = ? AND repo = ? AND status = 'scanned'
)
SELECT looked.path, fingerprint FROM looked LEFT JOIN findings USING (root_run, path)
"""
_STATES = 'FROM finding_states WHERE pipeline = ? AND repo = ? ORDER BY path, line, "column", tool, rule, finding'


def last_commit(home: Home, pipeline: str, repo: str) -> str | None:
    """The commit that was scanned last; None where only working trees were."""
    commit = _one(home, _COMMIT, pipeline, repo)
    return None if commit is None else str(commit)


def cost_per_file(home: Home, pipeline: str, repo: str) -> float | None:
    """What a model's review of a file has cost on average, in dollars; None where that is not known."""
    cost = _one(home, _COST, pipeline, repo)
    return None if cost is None else float(cost)


def scanned_by(home: Home, run: str) -> int:
    """How many files a run scanned."""
    from elexirion_dagster.store import database  # noqa: PLC0415  brings in duckdb: over 100 ms measured

    ((count,),) = database.query(home, _SCANNED, [run]).rows
    return int(count)


def found_in(home: Home, pipeline: str, repo: str, blobs: Mapping[str, str]) -> dict[str, set[str]]:
    """The fingerprints that scans found in files (path to blob) as these blobs; those never scanned so are left out."""
    from elexirion_dagster.store import database  # noqa: PLC0415  brings in duckdb: over 100 ms measured

    marks: dict[str, set[str]] = {}
    for path, mark in database.query(home, _FOUND, [list(blobs), list(blobs.values()), pipeline, repo]).rows:
        marks.setdefault(path, set()).update(() if mark is None else (mark,))
    return marks


def states(home: Home, pipeline: str, repo: str) -> list[dict[str, Json]]:
    """All findings that a pipeline ever had in a repository, each with its state, in the order of the code."""
    from elexirion_dagster.store import database  # noqa: PLC0415  brings in duckdb: over 100 ms measured

    found = database.query(home, _STATES, [pipeline, repo])
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def _one(home: Home, sql: str, pipeline: str, repo: str) -> Json:
    from elexirion_dagster.store import database  # noqa: PLC0415  brings in duckdb: over 100 ms measured

    ((value,),) = database.query(home, sql, [pipeline, repo]).rows
    return value
