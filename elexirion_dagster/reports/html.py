"""The report as one HTML file that opens from the disk and asks nothing of the network."""

import json
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from elexirion_dagster.reports.report import SEVERITIES, Record, Report, visible
from elexirion_dagster.reports.trend import trend

_TEMPLATE = Path(__file__).parent / "report.html.j2"
_MAX_ROWS = 15
_COLUMNS = (
    "fingerprint",
    "state",
    "severity",
    "path",
    "line",
    "column",
    "tool",
    "rule",
    "confidence",
    "message",
    "snippet",
    "url",
)


def render(report: Report) -> str:
    """Write the page; whatever the scanned code says stays text."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["visible"] = visible
    template = environment.from_string(_TEMPLATE.read_text("utf-8"))
    return template.render(
        report=report,
        severities=SEVERITIES,
        by_file=report.by_file[:_MAX_ROWS],
        by_rule=report.by_rule[:_MAX_ROWS],
        trend=trend(report.nights),
        data=_script_json([_row(report, finding) for finding in report.findings]),
    )


def _row(report: Report, finding: Record) -> Record:
    row = {column: finding.get(column) for column in _COLUMNS}
    shown = {key: visible(value) if isinstance(value, str) else value for key, value in row.items()}
    if not str(shown["url"] or "").startswith("https://"):
        shown["url"] = None
    review = report.verdict(finding)
    return {**shown, "review": _review(review) if review else None}


def _review(review: Record) -> Record:
    return {key: visible(review.get(key) or "") for key in ("verdict", "explanation", "fix")}


def _script_json(value: Any) -> Markup:
    """JSON that may stand inside a script element: no sign in it can end the element."""
    text = json.dumps(value, ensure_ascii=True)
    for sign, escape in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(sign, escape)
    return Markup(text)  # noqa: S704 every sign that could leave the element is escaped above
