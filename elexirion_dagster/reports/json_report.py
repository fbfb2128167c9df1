"""The whole report as JSON, for programs."""

import json
from dataclasses import asdict, fields

from elexirion_dagster.reports.report import Report

FORMAT = "elexirion-report/1"


def render(report: Report) -> str:
    """Write every field of the report, with its format and the counts by severity."""
    content = {"format": FORMAT, "by_severity": report.by_severity, "by_state": report.by_state, **asdict(report)}
    return json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def load(text: str) -> Report:
    """Read back what `render` wrote, also before there were all of today's fields."""
    content = json.loads(text)
    return Report(**{field.name: content[field.name] for field in fields(Report) if field.name in content})
