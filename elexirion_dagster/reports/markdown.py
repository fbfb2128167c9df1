"""The report as Markdown, for pull requests and mails; text from the scanned code cannot become markup."""

import re
from collections.abc import Iterable, Iterator, Sequence

from elexirion_dagster.reports.report import Record, Report, visible

_MAX_FINDINGS = 500
_MAX_ROWS = 50
_BACKTICKS = re.compile(r"`+")


def render(report: Report) -> str:
    """Write the report; the worst 500 findings in full."""
    parts = [_head(report), _lives(report), _findings(report), _counts(report), _scans(report), _tools(report)]
    parts.append(_unread(report))
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(report: Report) -> str:
    counts = ", ".join(f"{count} {severity}" for severity, count in report.by_severity.items() if count)
    lines = [
        f"# {_text(report.title)}",
        "",
        f"**{len(report.findings)} findings** in {report.files} files{f': {counts}' if counts else ''}.",
        "",
        f"- Run: {_code(report.run_id)} of {_code(report.pipeline)}, {_text(report.status)}",
        f"- Root: {_code(report.root)}",
        f"- Started: {_text(report.started_at)}{_took(report)}",
        f"- Files listed by: {_text(report.source or 'unknown')}",
        f"- Model: {_text(report.model or 'none')}, {report.calls} calls, cost {report.cost}",
    ]
    lines += [f"- Note: {_text(report.note)}"] if report.note else []
    lines += [f"- Review: {_text(report.review_note)}"] if report.review_note else []
    return "\n".join(lines)


def _took(report: Report) -> str:
    return "" if report.duration_s is None else f", took {report.duration_s:.1f} s"


def _lives(report: Report) -> str:
    """What changed since the scan before, and what is not reported and why."""
    if report.place is None:
        return ""
    states = _table(list(report.by_state), [report.by_state.values()])
    parts = [f"## Since the last scan\n\n{states}"]
    fixed = [(_code(one["fingerprint"]), _where(one), _code(one["rule"])) for one in report.fixed[:_MAX_ROWS]]
    hidden = [
        (_code(one["fingerprint"]), _where(one), _code(one["rule"]), *map(_said, _words(one)))
        for one in report.suppressed[:_MAX_ROWS]
    ]
    if fixed:
        parts.append("### Fixed\n\n" + _table(("fingerprint", "place", "rule"), fixed))
    if hidden:
        columns = ("fingerprint", "place", "rule", "reason", "owner", "until")
        parts.append("### Suppressed\n\n" + _table(columns, hidden))
    return "\n\n".join(parts)


def _words(finding: Record) -> tuple[object, ...]:
    return finding["reason"], finding["owner"], finding["expires"]


def _said(value: object) -> str:
    return _text(_or_blank(value))


def _where(finding: Record) -> str:
    return _code(f"{finding['path']}:{finding['line']}")


def _scans(report: Report) -> str:
    if not report.nights:
        return ""
    columns = (
        "number",
        "finished_at",
        "commit",
        "scanned",
        "failed",
        "findings",
        "new",
        "reopened",
        "fixed",
        "calls",
        "cost",
    )
    rows = [
        [_said(night[name]) for name in columns[:-1]] + [_cost(night["cost_usd"])]
        for night in reversed(report.nights[-_MAX_ROWS:])
    ]
    return "## Scans\n\n" + _table(["night", *(name.replace("_", " ") for name in columns[1:])], rows)


def _cost(usd: float | None) -> str:
    return "" if usd is None else f"${usd:.4f}"


def _findings(report: Report) -> str:
    if not report.findings:
        return "## Findings\n\nNone."
    shown = [_finding(report, finding) for finding in report.findings[:_MAX_FINDINGS]]
    left = len(report.findings) - len(shown)
    more = f"\n\n… and {left} more in `report.json`." if left else ""
    return "## Findings\n\n" + "\n\n".join(shown) + more


def _finding(report: Report, finding: Record) -> str:
    state = f"{finding['state']}, " if "state" in finding else ""
    mark = f", {_code(finding['fingerprint'])}" if finding.get("fingerprint") else ""
    lines = [
        f"### {state}{_text(finding['severity'])}: {_code(finding['rule'])} at {_where(finding)}",
        "",
        f"{_text(finding['message'])} ({_text(finding['tool'])}, {_text(finding['confidence'])} confidence{mark})",
        "",
        _block(finding["snippet"]),
    ]
    review = report.verdict(finding)
    if review:
        verdict = f"Model: **{_text(review['verdict'])}**. {_text(review.get('explanation') or '')}"
        lines += ["", verdict]
        lines += ["", _block(review["fix"])] if review.get("fix") else []
    return "\n".join(lines)


def _counts(report: Report) -> str:
    if not report.findings:
        return ""
    files = ((_code(path), count) for path, count in report.by_file[:_MAX_ROWS])
    rules = ((_text(tool), _code(rule), count) for (tool, rule), count in report.by_rule[:_MAX_ROWS])
    by_file = _table(("file", "findings"), files)
    by_rule = _table(("tool", "rule", "findings"), rules)
    return f"## By file\n\n{by_file}\n\n## By rule\n\n{by_rule}"


def _tools(report: Report) -> str:
    columns = ("name", "version", "status", "files", "findings", "seconds", "reason")
    rows = ([_text(_or_blank(tool.get(column))) for column in columns] for tool in report.tools)
    return "## Tools\n\n" + _table(columns, rows) if report.tools else ""


def _unread(report: Report) -> str:
    files = [(file["path"], file["tool"], file["reason"]) for file in report.unparsed]
    files += [(file["path"], "", file["reason"]) for file in report.skipped]
    if not files:
        return ""
    rows = ((_code(path), _text(tool), _text(reason)) for path, tool, reason in files[:_MAX_FINDINGS])
    left = len(files) - _MAX_FINDINGS
    more = f"\n\n… and {left} more in `report.json`." if left > 0 else ""
    return "## Files not read\n\n" + _table(("file", "tool", "reason"), rows) + more


def _or_blank(value: object) -> object:
    return "" if value is None else value


def _table(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    return "\n".join(_rows(columns, rows))


def _rows(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(_cell(cell) for cell in row)} |"


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|")


def _text(value: object) -> str:
    """Plain text: every sign that Markdown or HTML could read as markup is escaped."""
    flat = " ".join(visible(value).split())
    escaped = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]#!~])", r"\\\1", escaped).replace("://", "&#58;//").replace("@", "&#64;")


def _code(value: object) -> str:
    flat = visible(value).replace("\n", "\\n")
    fence = "`" * (_longest_run(flat) + 1)
    return f"{fence} {flat} {fence}" if flat.startswith("`") or flat.endswith("`") else f"{fence}{flat or ' '}{fence}"


def _block(value: object) -> str:
    text = visible(value)
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}\n{text}\n{fence}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in _BACKTICKS.findall(text)), default=0)
