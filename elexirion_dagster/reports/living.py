"""A report of findings that are followed from scan to scan: all that live, not only what this run looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from elexirion_dagster.records import Json
from elexirion_dagster.reports.report import SEVERITIES, Record, Report, order
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.scans import nights, of_repository

_KEPT = (
    *("tool", "rule", "severity", "confidence", "path", "line", "column", "end_line", "end_column", "message"),
    *("snippet", "snippet_hash", "symbol", "url", "fix", "fingerprint", "state", "is_new", "first_seen", "last_seen"),
    *("fixed_at", "nights", "verdict", "comment", "suppressed_by", "owner", "reason", "expires"),
)
_NUMBERS = (
    *("number", "finished_at", "commit", "scanned", "failed", "findings", "new", "reopened", "fixed", *SEVERITIES),
    *("calls", "cost_usd", "seconds"),
)
_PLACE = {"line": 1, "column": 1, "end_line": 1, "end_column": 1, "severity": "info", "snippet": "", "message": ""}


def of_scan(report: Report, home: Home, pipeline: str, repo: str) -> Report:
    """Put what is known of the repository into the report of a run that scanned some of it.

    The run's `scanned` lines are in the journal, which is loaded first.
    """
    from elexirion_dagster.store.database import ingest  # noqa: PLC0415  brings in duckdb: over 100 ms measured

    ingest(home)
    return with_history(report, of_repository(home, pipeline, repo), nights(home, pipeline, repo))


def with_history(report: Report, findings: Sequence[Mapping[str, Json]], scans: Sequence[Mapping[str, Json]]) -> Report:
    """The report with these rows of `finding_states` and `scans` (oldest first); as it was without any scan."""
    if not scans:
        return report
    known: list[Record] = [
        _plain(one, _KEPT, _PLACE) for one in findings if one["state"] != "fixed" or one["fixed_tonight"]
    ]
    known.sort(key=order)
    last = _plain(scans[-1], ("repo", "commit", "branch"))
    return replace(
        report,
        findings=tuple(one for one in known if one["state"] in ("new", "reopened", "open")),
        suppressed=tuple(one for one in known if one["state"] == "suppressed"),
        fixed=tuple(one for one in known if one["state"] == "fixed"),
        nights=tuple(_plain(night, _NUMBERS) for night in scans),
        place=last,
    )


def _plain(row: Mapping[str, Json], names: Sequence[str], absent: Mapping[str, Any] = {}) -> Record:
    """These columns as JSON; a place or text that a journal line lacked becomes the mildest there is."""
    return {name: _value(absent.get(name) if row[name] is None else row[name]) for name in names}


def _value(value: Json) -> Json:
    return value.isoformat() if isinstance(value, date) else value
