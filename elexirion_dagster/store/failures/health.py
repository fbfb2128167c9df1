"""How providers and pipelines are, from the outcome tables."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from elexirion_dagster.store.home import Home

if TYPE_CHECKING:
    from elexirion_dagster.store.database import Rows

State = Literal["healthy", "degraded", "critical"]
STATES: tuple[State, ...] = ("healthy", "degraded", "critical")
"""From good to bad."""
_CRITICAL, _DEGRADED = 0.5, 0.1
_FEWEST_CALLS, _FEWEST_RUNS = 3, 2
"""Failures below which a part is at most degraded: one may be an accident."""
_PROVIDERS = """
SELECT provider, count(*), count(*) FILTER (bad), arg_max(cause, ts) FILTER (bad) FROM (
    SELECT provider, answered_at AS ts, cause, coalesce(cause IN ('overloaded', 'rate_limited', 'timeout', 'connection',
        'auth', 'billing', 'model_not_found'), false) AS bad
    FROM calls WHERE answered_at > current_timestamp AT TIME ZONE 'UTC' - INTERVAL 1 HOUR
) GROUP BY provider ORDER BY provider
"""
_PIPELINES = """
WITH ended AS (
    SELECT pipeline, root_run, arg_max(status, finished_at) AS status, arg_max(cause, finished_at) AS cause,
        max(finished_at) AS ts
    FROM runs WHERE finished_at > current_timestamp AT TIME ZONE 'UTC' - INTERVAL 1 DAY AND status <> 'cancelled'
        AND pipeline IS NOT NULL AND NOT (coalesce(trigger, '') = 'cli' AND coalesce(cause, '') = 'bad_input')
        AND coalesce(tags->>'$."elexirion/rehearsal"', '') = ''
    GROUP BY ALL
), newest AS (FROM ended QUALIFY row_number() OVER (PARTITION BY pipeline ORDER BY ts DESC) <= 10)
SELECT pipeline, count(*), count(*) FILTER (status = 'failed'), arg_max(cause, ts) FILTER (status = 'failed')
FROM newest GROUP BY pipeline ORDER BY pipeline
"""


@dataclass(frozen=True, slots=True)
class Health:
    """How one part is, and by which figures."""

    kind: Literal["setting", "provider", "pipeline", "queue"]
    name: str
    state: State
    why: str


def providers(home: Home) -> list[Health]:
    """By the attempts of the last hour: causes that are the provider's, not those of what was asked."""
    rows = _rows(home, _PROVIDERS)
    return [
        Health(
            "provider",
            name,
            _state(bad, count, fewest=_FEWEST_CALLS),
            _why(bad, count, "calls of the last hour", cause),
        )
        for name, count, bad, cause in rows.rows
    ]


def pipelines(home: Home) -> list[Health]:
    """By the last ten root runs of a day, recoveries included: one that was recovered did not fail.

    Rehearsals do not count, nor what somebody in a terminal gave a wrong input to.
    """
    rows = _rows(home, _PIPELINES)
    return [
        Health("pipeline", name, _state(bad, count, fewest=_FEWEST_RUNS), _why(bad, count, "last runs", cause))
        for name, count, bad, cause in rows.rows
    ]


def _rows(home: Home, sql: str) -> "Rows":
    from elexirion_dagster.store import database  # noqa: PLC0415  brings in duckdb: over 100 ms measured

    return database.query(home, sql)


def _state(bad: int, count: int, *, fewest: int) -> State:
    if bad >= _CRITICAL * count and bad >= fewest:
        return "critical"
    return "degraded" if bad >= _DEGRADED * count and bad else "healthy"


def _why(bad: int, count: int, what: str, cause: str | None) -> str:
    return f"{bad} of {count} {what} failed" + (f", last with {cause}" if cause else "")


def worst(parts: list[Health]) -> State:
    """The state of the whole; healthy where nothing was measured."""
    return max((part.state for part in parts), key=STATES.index, default="healthy")
