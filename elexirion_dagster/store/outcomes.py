"""The latest outcomes of model calls, for people who do not want to write SQL."""

from typing import TYPE_CHECKING

from elexirion_dagster.store.home import Home

if TYPE_CHECKING:
    from elexirion_dagster.store.database import Rows

_RECENT = """
SELECT ts, pipeline, run, path, provider || '/' || model AS model, coalesce(status, call_status) AS status, cause,
    cost_usd, input_tokens + output_tokens + cache_read_tokens + cache_write_tokens AS tokens, latency_s, text
FROM outcomes ORDER BY ts DESC, call_id LIMIT ?
"""


def recent(home: Home, *, limit: int) -> "Rows":
    """Return the newest `limit` outcomes, newest first."""
    from elexirion_dagster.store import database  # noqa: PLC0415  brings in duckdb: over 100 ms measured

    return database.query(home, _RECENT, [limit])
