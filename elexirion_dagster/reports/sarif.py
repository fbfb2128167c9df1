"""The report as SARIF 2.1.0: one run per tool, paths relative to the scanned root."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from elexirion_dagster.reports.report import Record, Report

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_EDIT = {"line", "column", "end_line", "end_column", "text"}
_ROOT_ID = "SRCROOT"
_BASELINE = {"new": "new", "reopened": "new", "open": "unchanged", "fixed": "absent"}
_LEVELS: Mapping[str, str] = {"critical": "error", "high": "error", "medium": "warning", "low": "note", "info": "note"}


def render(report: Report) -> str:
    """Write the SARIF log."""
    tools = list(report.tools) or [{"name": "elexirion", "status": "ran"}]
    named = {tool["name"] for tool in tools}
    others = sorted({finding["tool"] for finding in _all(report)} - named)
    tools += [{"name": name, "status": "ran"} for name in others]
    runs = [_run(report, tool, first=tool is tools[0]) for tool in tools]
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": runs}, ensure_ascii=False, indent=1) + "\n"


def _all(report: Report) -> list[Record]:
    return [*report.findings, *report.suppressed, *report.fixed]


def _run(report: Report, tool: Record, *, first: bool) -> Record:
    findings = [finding for finding in _all(report) if finding["tool"] == tool["name"]]
    rules = list(dict.fromkeys(finding["rule"] for finding in findings))
    driver: Record = {"name": tool["name"], "rules": [_rule(rule, findings) for rule in rules]}
    if tool.get("version"):
        driver["version"] = tool["version"]
    run: Record = {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"{report.pipeline}/{tool['name']}/{report.run_id}"},
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation(report, tool, first=first)],
        "results": list(_results(report, findings, rules)),
    }
    if Path(report.root).is_absolute():
        run["originalUriBaseIds"] = {_ROOT_ID: {"uri": f"{Path(report.root).as_uri().rstrip('/')}/"}}
    if report.place:
        run["versionControlProvenance"] = [_provenance(report.place)]
    return run


def _provenance(place: Record) -> Record:
    """The repository's address: what a remote is called is https for a reader, a folder of this machine is a file."""
    whole, _, inside = place["repo"].partition("//")
    uri = f"file://{quote(whole)}" if whole.startswith("/") else f"https://{quote(whole)}"
    said: Record = {"repositoryUri": uri, "mappedTo": {"uriBaseId": _ROOT_ID}}
    said |= {"properties": {"folder": inside}} if inside else {}
    revision = {"revisionId": place["commit"], "branch": place["branch"]}
    return said | {name: value for name, value in revision.items() if value}


def _rule(rule: str, findings: Iterable[Record]) -> Record:
    example = next(finding for finding in findings if finding["rule"] == rule)
    described: Record = {"id": rule, "defaultConfiguration": {"level": _LEVELS[example["severity"]]}}
    if example.get("url"):
        described["helpUri"] = example["url"]
    return described


def _results(report: Report, findings: Iterable[Record], rules: list[str]) -> Iterable[Record]:
    seen: Counter[tuple[str, ...]] = Counter()
    index = {rule: at for at, rule in enumerate(rules)}
    for finding in findings:
        place = (finding["tool"], finding["rule"], finding["path"], finding["snippet_hash"])
        seen[place] += 1
        known = finding.get("fingerprint")
        mark = ("elexirionFinding/v1", known) if known else ("elexirionSnippet/v1", _digest((*place, str(seen[place]))))
        yield _result(report, finding, index[finding["rule"]], dict([mark]))


def _digest(parts: tuple[str, ...]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _result(report: Report, finding: Record, rule_index: int, fingerprints: Record) -> Record:
    properties = {"severity": finding["severity"], "confidence": finding["confidence"]}
    review = report.verdict(finding)
    if review:
        properties["review"] = {key: review.get(key) for key in ("verdict", "explanation", "fix")}
    return {
        "ruleId": finding["rule"],
        "ruleIndex": rule_index,
        "level": _LEVELS[finding["severity"]],
        "message": {"text": finding["message"]},
        "locations": [
            {"physicalLocation": {"artifactLocation": _artifact(finding["path"]), "region": _region(finding)}}
        ],
        "partialFingerprints": fingerprints,
        "properties": properties,
        **_life(finding),
        **_fixes(finding),
    }


def _life(finding: Record) -> Record:
    """How a finding stands against earlier scans, where it is followed."""
    state = finding.get("state")
    if state is None:
        return {}
    if state != "suppressed":
        return {"baselineState": _BASELINE[state]}
    details = {name: finding[name] for name in ("owner", "expires", "suppressed_by") if finding[name]}
    suppression = {"kind": "external", "status": "accepted", "justification": finding["reason"] or ""}
    baseline = "new" if finding["is_new"] else "unchanged"
    return {"baselineState": baseline, "suppressions": [{**suppression, "properties": details}]}


def _fixes(finding: Record) -> Record:
    """The tool's own change of the text, where it knows one that is safe."""
    edits = finding.get("fix")
    if not isinstance(edits, list | tuple) or not edits or finding.get("state") == "fixed":
        return {}
    if not all(isinstance(edit, Mapping) and edit.keys() >= _EDIT for edit in edits):
        return {}
    replacements = [{"deletedRegion": _span(edit), "insertedContent": {"text": edit["text"]}} for edit in edits]
    change = {"artifactLocation": _artifact(finding["path"]), "replacements": replacements}
    return {"fixes": [{"artifactChanges": [change]}]}


def _region(finding: Record) -> Record:
    return {**_span(finding), "snippet": {"text": finding["snippet"]}}


def _span(place: Record) -> Record:
    """SARIF's end column is the one after the last."""
    return {
        "startLine": place["line"],
        "startColumn": place["column"],
        "endLine": place["end_line"],
        "endColumn": place["end_column"] + 1,
    }


def _artifact(path: str) -> Record:
    return {"uri": quote(path), "uriBaseId": _ROOT_ID}


def _invocation(report: Report, tool: Record, *, first: bool) -> Record:
    """How the tool fared, and every file it did not read; files nobody looked at stand with the first tool."""
    ran = tool["status"] in ("ran", "no files")
    notes = [] if ran else [{"level": "error", "message": {"text": tool.get("reason") or tool["status"]}}]
    notes += [_notice("error", file) for file in report.unparsed if file["tool"] == tool["name"]]
    notes += [_notice("note", file) for file in report.skipped if first]
    return {"executionSuccessful": ran, "toolExecutionNotifications": notes}


def _notice(level: str, file: Mapping[str, Any]) -> Record:
    location = {"physicalLocation": {"artifactLocation": _artifact(file["path"])}}
    return {"level": level, "message": {"text": file["reason"] or "not read"}, "locations": [location]}
