"""Run real analyzers over listed files."""

import os
from collections import Counter
from pathlib import Path
from typing import get_args

from elexirion_dagster.codebase.analyzers.catalog import analyze
from elexirion_dagster.errors import ElexirionError, InputError
from elexirion_dagster.records import Json, Severity, StepResult
from elexirion_dagster.spec.analyze import AnalyzeStep
from elexirion_dagster.steps.context import StepContext

_SEVERITIES: tuple[Severity, ...] = get_args(Severity)


def run(step: AnalyzeStep, ctx: StepContext) -> StepResult:
    """`data` holds findings, unparsed files, tools and the number of files; failed only when every tool failed."""
    files = ctx.evaluate(step.paths)
    root = _root(files, ctx)

    def progress(done: int, findings: int) -> None:
        ctx.shared.progress(ctx.path, done, 0, len(files), f"{findings} findings" if findings else None)

    analysis = analyze(
        files,
        root=root,
        tools=step.tools,
        workers=os.cpu_count() or 1,
        timeout_s=ctx.time_left_s(),
        redactor=ctx.shared.redactor,
        cancelled=ctx.shared.cancelled,
        on_progress=progress,
    )
    if analysis.tools and all(tool["status"] in ("failed", "missing") for tool in analysis.tools):
        reasons = "; ".join(f"{tool['name']}: {tool['reason']}" for tool in analysis.tools)
        raise ElexirionError(
            f"no analyzer could run: {reasons}", cause="command_failed", mend="See `elexirion doctor`."
        )
    findings = [finding.to_json() for finding in analysis.findings]
    looked = [tool["name"] for tool in analysis.tools]
    ctx.shared.journal.append("findings", path=ctx.path, findings=findings, unparsed=analysis.unparsed, tools=looked)
    counts = Counter(finding.severity for finding in analysis.findings)
    severities: dict[str, int] = {severity: counts[severity] for severity in _SEVERITIES}
    data = {
        "findings": findings,
        "unparsed": analysis.unparsed,
        "tools": analysis.tools,
        "files": len(files),
        "by_severity": severities,
    }
    metadata = {"files": len(files), "findings": len(findings), "unparsed": len(analysis.unparsed), **severities}
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
