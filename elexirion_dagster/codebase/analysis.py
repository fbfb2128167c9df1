"""Running analyzers over files, side by side, and normalising what they find."""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from elexirion_dagster.codebase.analyzers.base import Analyzer, RawFinding
from elexirion_dagster.codebase.analyzers.snippets import finish
from elexirion_dagster.codebase.chunks import Outcome, Session, split, version
from elexirion_dagster.codebase.confine import confine, open_below
from elexirion_dagster.codebase.executables import find
from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.records import Finding
from elexirion_dagster.redact import Redactor
from elexirion_dagster.sandbox.policy import Sandbox

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Analysis:
    """Findings by path, line, column, tool and rule; files a tool could not read; what each tool did.

    `unparsed`: `{"path", "tool", "reason"}`. `tools`: `{"name", "version", "files", "findings", "seconds" (of its
    processes), "status" (ran, failed, missing, no files), "reason"}`.
    """

    findings: list[Finding]
    unparsed: list[dict[str, str]]
    tools: list[dict[str, Any]]


@dataclass(slots=True)
class _Work:
    """One tool's share: its files, its session where it can run, and what came of it so far."""

    analyzer: Analyzer
    paths: list[str]
    unparsed: list[tuple[str, str]]
    session: Session | None = None
    outcome: Outcome = field(default_factory=Outcome)
    version: str | None = None

    @property
    def status(self) -> str:
        if not self.paths and not self.unparsed:
            return "no files"
        if self.session is None:
            return "missing"
        return "failed" if self.outcome.failed else "ran"


def analyze_with(
    analyzers: Sequence[Analyzer],
    files: Sequence[Mapping[str, Any]],
    *,
    root: Path,
    workers: int,
    timeout_s: float,
    redactor: Redactor,
    sandbox: Sandbox,
    cancelled: threading.Event | None = None,
    on_progress: Progress | None = None,
) -> Analysis:
    """Run `analyzers` over `files`; `analyzers.catalog.analyze` says what the parameters mean."""
    real, deadline = root.resolve(), monotonic() + timeout_s
    works = [_work(analyzer, files, real, deadline, cancelled=cancelled, sandbox=sandbox) for analyzer in analyzers]
    with ThreadPoolExecutor(max_workers=workers) as pool:
        try:
            _run(pool, works, workers, on_progress)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    findings = _normalised(works, real, redactor)
    found = Counter(finding.tool for finding in findings)
    unparsed = [_missed(work.analyzer.name, path, why, redactor) for work in works for path, why in _unread(work)]
    return Analysis(
        sorted(findings, key=lambda one: (one.path, one.line, one.column, one.tool, one.rule, one.message)),
        sorted(unparsed, key=lambda one: (one["path"], one["tool"])),
        [_told(work, found[work.analyzer.name], redactor) for work in works],
    )


def _work(
    analyzer: Analyzer,
    files: Iterable[Mapping[str, Any]],
    root: Path,
    deadline: float,
    *,
    cancelled: threading.Event | None,
    sandbox: Sandbox,
) -> _Work:
    work = _Work(analyzer, [], [])
    for path in dict.fromkeys(str(file["path"]) for file in files if file["language"] in analyzer.languages):
        why = _unfit(root, path, utf8_only=analyzer.utf8_only)
        if why:
            work.unparsed.append((path, why))
        else:
            work.paths.append(path)
    executable = find(analyzer.name)
    if executable and work.paths:
        work.session = Session(analyzer, executable, root, deadline, cancelled, sandbox)
    return work


def _unfit(root: Path, path: str, *, utf8_only: bool) -> str | None:
    place = confine(root, path)
    if not place.is_file():
        return "there is no such file any more"
    if utf8_only:
        try:
            place.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            return "not UTF-8"
    return None


def _run(pool: ThreadPoolExecutor, works: Sequence[_Work], workers: int, on_progress: Progress | None) -> None:
    """Submit every share, those that cannot be split first, and gather what they come to."""
    running: dict[Future[Outcome], tuple[_Work, list[str]]] = {}
    asked: dict[Future[str | None], _Work] = {}
    for work in sorted(works, key=lambda one: not one.analyzer.whole_program):
        if session := work.session:
            for share in split(work.paths, work.analyzer, workers):
                running[pool.submit(session.examine, share)] = (work, share)
            asked[pool.submit(version, session.executable, session.sandbox)] = work
    open_tools = Counter(path for _, share in running.values() for path in share)
    done_files = findings = 0
    for future in as_completed(running):
        work, share = running[future]
        outcome = future.result()
        work.outcome += outcome
        findings += len(outcome.findings)
        open_tools.subtract(share)
        done_files += sum(open_tools[path] == 0 for path in share)
        if on_progress:
            on_progress(done_files, findings)
    for question, work in asked.items():
        work.version = question.result()


def _normalised(works: Sequence[_Work], root: Path, redactor: Redactor) -> list[Finding]:
    by_path: dict[str, list[tuple[str, RawFinding]]] = defaultdict(list)
    for work in works:
        for raw in work.outcome.findings:
            by_path[raw.path].append((work.analyzer.name, raw))
    findings: list[Finding] = []
    for path, raws in by_path.items():
        findings += finish(raws, path, _text(root, path), redactor)
    return findings


def _text(root: Path, path: str) -> str:
    try:
        with open(open_below(root, path), "rb") as file:  # noqa: PTH123 a descriptor, not a path
            return file.read().decode("utf-8", "replace")
    except ElexirionError:  # it went away while the tools ran: the finding stands, without its text
        return ""


def _unread(work: _Work) -> list[tuple[str, str]]:
    missing = [] if work.session else [(path, f"{work.analyzer.name} is not installed") for path in work.paths]
    return [*work.unparsed, *dict([*missing, *work.outcome.unparsed]).items()]


def _missed(tool: str, path: str, reason: str, redactor: Redactor) -> dict[str, str]:
    return {"path": path, "tool": tool, "reason": redactor.text(reason)}


def _told(work: _Work, findings: int, redactor: Redactor) -> dict[str, Any]:
    reason = work.outcome.failed
    if work.status == "missing":
        reason = f"{work.analyzer.name} is neither beside this Python nor on PATH; pip install it"
    return {
        "name": work.analyzer.name,
        "version": work.version,
        "files": len(work.paths),
        "findings": findings,
        "seconds": round(work.session.seconds, 3) if work.session else 0.0,
        "status": work.status,
        "reason": redactor.text(reason) if reason else None,
    }
