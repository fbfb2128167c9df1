"""The report in a terminal."""

from collections import Counter
from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from elexirion_dagster.records import counted
from elexirion_dagster.reports.report import Report, in_line, visible

STYLES: Mapping[str, str] = {
    "critical": "bold white on red",
    "high": "bold red",
    "medium": "yellow",
    "low": "cyan",
    "info": "dim",
}


def findings_table(report: Report, limit: int) -> RenderableType:
    """Tabulate the worst `limit` findings by severity and file, and say how many were left out."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for name, fold in (("severity", False), ("where", True), ("rule", False), ("message", True)):
        table.add_column(name, overflow="fold" if fold else "ellipsis", no_wrap=not fold)
    for finding in report.findings[:limit]:
        severity = finding["severity"]
        table.add_row(
            Text(severity, STYLES[severity]),
            Text(in_line(f"{finding['path']}:{finding['line']}")),
            _one_line(f"{finding['tool']} {finding['rule']}"),
            _one_line(finding["message"]),
        )
    left = len(report.findings) - limit
    return Group(table, Text(f"… and {left} more", "dim")) if left > 0 else table


def summary(report: Report) -> RenderableType:
    """Say in a few lines what was looked at, what was found, which tools failed, and what it cost."""
    lines = [Text.assemble((counted(len(report.findings), "finding"), "bold"), f" in {counted(report.files, 'file')}")]
    counts = [(severity, count) for severity, count in report.by_severity.items() if count]
    if counts:
        parts = [Text(f"{count} {severity}", STYLES[severity]) for severity, count in counts]
        lines.append(Text("  ").join(parts))
    if report.note:
        lines.append(_one_line(report.note))
    lines += [
        Text.assemble((f"{tool['name']} {tool['status']}: ", "bold red"), _one_line(tool["reason"]))
        for tool in report.tools
        if tool["status"] in ("failed", "missing")
    ]
    if report.unparsed or report.skipped:
        unread = f"{counted(len(report.unparsed), 'time')} a tool could not read a file" if report.unparsed else ""
        skipped = f"{counted(len(report.skipped), 'file')} skipped" if report.skipped else ""
        lines.append(Text(", ".join(filter(None, (unread, skipped)))))
    if report.reviews:
        verdicts = Counter(str(review["verdict"]).replace("_", " ") for review in report.reviews)
        said = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())
        lines.append(_one_line(f"the model looked at {counted(len(report.reviews), 'finding')}: {said}"))
    if report.review_note:
        lines.append(_one_line(report.review_note))
    lines.append(
        Text(f"model: {visible(report.model or 'none')}, {counted(report.calls, 'call')}, cost: {report.cost}", "dim")
    )
    return Group(*lines)


def _one_line(value: object) -> Text:
    return Text(" ".join(visible(value).split()))
