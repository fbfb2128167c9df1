"""Facts of earlier scans that help to plan the next one; `scans.known_files` has loaded the journal's news before."""

from elexirion_dagster.records import Json
from elexirion_dagster.store.home import Home

_COMMIT = 'SELECT arg_max("commit", ts) FROM batches WHERE pipeline = ? AND repo = ? AND "commit" IS NOT NULL'
_COST = """
SELECT sum(cost_usd) / nullif(sum(scanned), 0) FROM scans
WHERE pipeline = ? AND repo = ? AND model IS NOT NULL AND calls > 0
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


def states(home: Home, pipeline: str, repo: str) -> list[dict[str, Json]]:
    """All findings that a pipeline ever had in a repository, each with its state, in the order of the code."""
    from elexirion_dagster.store import database  # noqa: PLC0415  brings in duckdb: over 100 ms measured

    found = database.query(home, _STATES, [pipeline, repo])
    return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def _one(home: Home, sql: str, pipeline: str, repo: str) -> Json:
    from elexirion_dagster.store import database  # noqa: PLC0415  brings in duckdb: over 100 ms measured

    ((value,),) = database.query(home, sql, [pipeline, repo]).rows
    return value
