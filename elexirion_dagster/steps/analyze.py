"""Run real analyzers over listed files, or settle what a model claims about them."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import Any, get_args

from elexirion_dagster.codebase.analyzers.catalog import analyze
from elexirion_dagster.codebase.claims import TOOL, settle
from elexirion_dagster.errors import ElexirionError, InputError
from elexirion_dagster.records import Finding, Json, Severity, StepResult, counted
from elexirion_dagster.spec.analyze import AnalyzeStep
from elexirion_dagster.steps.context import StepContext

_SEVERITIES: tuple[Severity, ...] = get_args(Severity)


def run(step: AnalyzeStep, ctx: StepContext) -> StepResult:
    """`data` holds findings, unparsed files, tools and the number of files; failed only when every tool failed."""
    files = ctx.evaluate(step.paths)
    root = _root(files, ctx)
    return _analyzed(step, files, root, ctx) if step.claims is None else _settled(step, files, root, ctx)


def _analyzed(step: AnalyzeStep, files: Sequence[Json], root: Path, ctx: StepContext) -> StepResult:
    def progress(done: int, findings: int) -> None:
        ctx.shared.progress(ctx.path, done, 0, len(files), f"{findings} findings" if findings else None)

    analysis = analyze(
        files,
        root=root,
        tools=step.tools,
        workers=os.cpu_count() or 1,
        timeout_s=ctx.time_left_s(),
        redactor=ctx.shared.redactor,
        sandbox=ctx.shared.sandbox.under(step.sandbox, network=False),
        cancelled=ctx.shared.cancelled,
        on_progress=progress,
    )
    if analysis.tools and all(tool["status"] in ("failed", "missing") for tool in analysis.tools):
        reasons = "; ".join(f"{tool['name']}: {tool['reason']}" for tool in analysis.tools)
        raise ElexirionError(
            f"no analyzer could run: {reasons}", cause="command_failed", mend="See `elexirion doctor`."
        )
    return _told(ctx, analysis.findings, analysis.unparsed, {"tools": analysis.tools, "files": len(files)})


def _settled(step: AnalyzeStep, files: Sequence[Json], root: Path, ctx: StepContext) -> StepResult:
    """Claims that count are findings like any other; those that do not stand in `data.rejected`, counted."""
    reviews, known = ctx.evaluate(step.claims), ctx.evaluate(step.known) or []
    for name, value, fields in (
        ("claims", reviews, {"path", "claims"}),
        ("known", known, {"path", "line", "end_line"}),
    ):
        if not isinstance(value, list) or not all(isinstance(one, Mapping) and fields <= one.keys() for one in value):
            message = f"{name} of {ctx.path} must be a list of maps with {', '.join(sorted(fields))}"
            raise InputError(message, mend="Map them with a transform step.")
    started = monotonic()
    settled = settle(reviews, files, root=root, known=known, redactor=ctx.shared.redactor)
    tool = {
        "name": TOOL,
        "version": None,
        "status": "ran",
        "files": len(files) - len(settled.unread),
        "findings": len(settled.findings),
        "seconds": round(monotonic() - started, 3),
        "reason": f"{counted(len(settled.rejected), 'claim')} rejected" if settled.rejected else None,
    }
    more = {"tools": [tool], "files": len(files), "rejected": settled.rejected}
    return _told(ctx, settled.findings, settled.unread, more, marks=settled.marks)


def _told(
    ctx: StepContext,
    found: Sequence[Finding],
    unparsed: Sequence[dict[str, str]],
    more: Mapping[str, Json],
    *,
    marks: Mapping[str, str] = MappingProxyType({}),
) -> StepResult:
    """Write the findings into the journal, and hand them on with counts; `marks` are what reviewed files consist of."""
    findings = [finding.to_json() for finding in found]
    tools = [tool["name"] for tool in more["tools"]]
    read: dict[str, Any] = {"marks": dict(marks)} if marks else {}
    ctx.shared.journal.append(
        "findings", path=ctx.path, findings=findings, unparsed=list(unparsed), tools=tools, **read
    )
    counts = Counter(finding.severity for finding in found)
    severities: dict[str, int] = {severity: counts[severity] for severity in _SEVERITIES}
    data = {"findings": findings, "unparsed": list(unparsed), **more, "by_severity": severities}
    figures = {name: value if isinstance(value, int) else len(value) for name, value in more.items() if name != "tools"}
    metadata = {**figures, "findings": len(findings), "unparsed": len(unparsed), **severities}
    return StepResult("succeeded", data=data, metadata=metadata)


def _root(files: Json, ctx: StepContext) -> Path:
    """The one folder that all file records share."""
    if not isinstance(files, list) or not all(
        isinstance(file, dict) and {"root", "path"} <= set(file) for file in files
    ):
        raise InputError(f"paths of {ctx.path} must be file records", mend="Use steps.<a files step>.data.files.")
    roots = {file["root"] for file in files}
    if len(roots) > 1:
        raise InputError(f"paths of {ctx.path} come from {len(roots)} folders", mend="Use one analyze step per folder.")
    return ctx.readable(roots.pop()) if roots else ctx.shared.workspace
