"""How the versions of a slot do at work: their outcomes, in order of time."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from elexirion_dagster.store.home import Home

_NOT_THE_PROMPTS = """('overloaded', 'rate_limited', 'timeout', 'connection', 'auth', 'billing', 'model_not_found',
    'budget_exceeded', 'storage', 'worker_lost', 'cancelled')"""
"""Causes of failures that say nothing about a prompt: such rows count for nobody."""
_TRIALS = f"""
WITH asked AS (
    SELECT root_run, any_value(run) AS run, regexp_replace(path, '\\[(sample \\d+|fallback)\\]$', '') AS path,
        pipeline, slot, prompt_version, min(ts) AS ts, max(hash(inputs::VARCHAR)) AS inputs,
        CASE WHEN arg_max(status, ts) = 'failed' THEN arg_max(cause, ts) END AS cause
    FROM answers WHERE list_contains(?::VARCHAR[], prompt_version) GROUP BY ALL
), results AS (
    FROM steps QUALIFY row_number() OVER (PARTITION BY root_run, path ORDER BY ts DESC) = 1
), judged AS (
    SELECT root_run, path, avg(value) AS score, max(ts) AS scored_at FROM scores
    WHERE source <> 'schema' AND value IS NOT NULL GROUP BY ALL
)
SELECT asked.prompt_version, asked.ts, results.status = 'succeeded' AS good, score, scored_at
FROM asked JOIN results USING (root_run, path) LEFT JOIN judged USING (root_run, path)
    JOIN runs ON runs.root_run = asked.root_run AND runs.run = asked.run
WHERE coalesce(asked.pipeline, runs.pipeline) = ?
    AND (asked.slot = ? OR (asked.slot IS NULL AND regexp_matches(path, ?)))
    AND (results.status = 'succeeded' OR (results.status IN ('failed', 'degraded')
        AND coalesce(results.cause, asked.cause, 'unknown') NOT IN {_NOT_THE_PROMPTS}))
QUALIFY row_number() OVER (
    PARTITION BY asked.prompt_version, CASE WHEN contains(path, '[') THEN concat_ws(' ', path, asked.inputs)
        ELSE asked.root_run || path END ORDER BY asked.ts, asked.root_run) = 1
ORDER BY asked.ts, asked.root_run, path
"""  # noqa: S608  the words put in are ours
"""One row for each question; an item that is asked the same again counts once, for it always gets the same version."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One outcome of one version: whether it came to an answer that could be used, and what that was found to be.

    `score` (0 to 1) is the mean of what expressions and people gave it, None where nobody did. Times are UTC without a
    zone.
    """

    version: str
    at: datetime
    good: bool
    score: float | None
    scored_at: datetime | None


def trials(home: Home, pipeline: str, step: str, versions: Sequence[str]) -> tuple[Trial, ...]:
    """The outcomes of a slot with one of these versions, as the last ingest left them, in order of time."""
    from elexirion_dagster.store import database  # noqa: PLC0415  brings in duckdb: over 100 ms measured

    names = r"(\[.*\])?\.".join(re.escape(name) for name in step.split("."))
    given = [list(versions), pipeline, step, f"(?s)^{names}$"]  # rows older than slots are told by their path
    return tuple(Trial(*row) for row in database.query(home, _TRIALS, given).rows)
