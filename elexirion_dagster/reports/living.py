"""A report of findings that are followed from scan to scan: all that live, not only what this run looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

from elexirion_dagster.records import Json
from elexirion_dagster.reports.report import SEVERITIES, Record, Report, order
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.nights.scans import nights, of_repository

_KEPT = (
    *("tool", "rule", "severity", "confidence", "path", "line", "column", "end_line", "end_column", "message"),
    *("snippet", "snippet_hash", "symbol", "url", "fix", "fingerprint", "state", "is_new", "first_seen", "last_seen"),
    *("fixed_at", "nights", "verdict", "comment", "suppressed_by", "owner", "reason", "expires"),
)
_NUMBERS = (
    *("number", "finished_at", "commit", "scanned", "failed", "findings", "new", "reopened", "fixed", *SEVERITIES),
    *("calls", "cost_usd", "seconds"),
)
_PLACE = ("line", "column", "end_line", "end_column")
_TEXTS = ("tool", "rule", "confidence", "message", "snippet")


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
    kept = (one for one in findings if one["state"] != "fixed" or one["fixed_tonight"])
    known = sorted((_sound(_plain(one, _KEPT)) for one in kept), key=order)
    last = _plain(scans[-1], ("repo", "commit", "branch"))
    return replace(
        report,
        findings=tuple(one for one in known if one["state"] in ("new", "reopened", "open")),
        suppressed=tuple(one for one in known if one["state"] == "suppressed"),
        fixed=tuple(one for one in known if one["state"] == "fixed"),
        nights=tuple(_plain(night, _NUMBERS) for night in scans),
        place=last,
    )


def _plain(row: Mapping[str, Json], names: Sequence[str]) -> Record:
    """These columns as JSON."""
    return {name: row[name].isoformat() if isinstance(row[name], date) else row[name] for name in names}


def _sound(finding: Record) -> Record:
    """What a journal line lacked or had wrong becomes the mildest there is."""
    places = {name: max(finding[name] or 1, 1) for name in _PLACE}
    severity = finding["severity"] if finding["severity"] in SEVERITIES else "info"
    return {**finding, **{name: finding[name] or "" for name in _TEXTS}, **places, "severity": severity}
