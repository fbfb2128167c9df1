"""Running one analyzer over many files: split into processes, and a file that crashes it costs only itself."""

import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic

from elexirion_dagster.codebase.analyzers.ast_grep import RULES
from elexirion_dagster.codebase.analyzers.base import Analyzer, Parsed, RawFinding
from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.sandbox.policy import Sandbox
from elexirion_dagster.shell import Limits, run

_ARGUMENT_BYTES = 256 * 1024
_OUTPUT_BYTES = 256 * 1024 * 1024
_LEAST_FILES = 40
_CHUNKS_PER_WORKER = 4
_MAX_RETRIES = 200
_REASON_CHARACTERS = 300
_ENVIRONMENT = {"PYTHONNOUSERSITE": "1", "PYTHONUTF8": "1", "PYTHONWARNINGS": "ignore"}
"""With a home of its own, so that nothing is loaded from a home, least of all one inside the scanned code."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a chunk came to. `failed` says why the tool (not one file) gave up; the files it missed are unparsed."""

    findings: tuple[RawFinding, ...] = ()
    unparsed: tuple[tuple[str, str], ...] = ()
    failed: str | None = None

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(self.findings + other.findings, self.unparsed + other.unparsed, self.failed or other.failed)


@dataclass(slots=True)
class Session:
    """One analyzer at work in `root` until `deadline` (monotonic seconds)."""

    analyzer: Analyzer
    executable: str
    root: Path
    deadline: float
    cancelled: threading.Event | None
    sandbox: Sandbox
    seconds: float = 0.0
    retries_left: int = _MAX_RETRIES
    lock: threading.Lock = field(default_factory=threading.Lock)

    def examine(self, paths: Sequence[str]) -> Outcome:
        """Run over `paths` (relative to the root); at a crash, halve until the file that does it stands alone."""
        said = self._once(paths)
        if isinstance(said, Parsed):
            return Outcome(said.findings, said.unparsed)
        if not self._healthy():
            return _given_up(paths, said)
        halved = self._halved(paths, said)
        if not self.analyzer.whole_program or halved.failed:
            return halved
        bad = {path for path, _ in halved.unparsed}
        good = [path for path in paths if path not in bad]
        again = self._once(good) if good else Parsed()
        if isinstance(again, str):
            return _given_up(paths, again)
        return Outcome(again.findings, halved.unparsed)

    def _halved(self, paths: Sequence[str], reason: str) -> Outcome:
        if len(paths) == 1:
            return Outcome(unparsed=((paths[0], f"{self.analyzer.name} crashed on it: {reason}"),))
        middle = len(paths) // 2
        return self._part(paths[:middle]) + self._part(paths[middle:])

    def _part(self, paths: Sequence[str]) -> Outcome:
        with self.lock:
            self.retries_left -= 1
            exhausted = self.retries_left < 0
        if exhausted or monotonic() > self.deadline:
            return _given_up(paths, "it crashed on too many files")
        said = self._once(paths)
        if isinstance(said, Parsed):
            return Outcome(said.findings, said.unparsed)
        return self._halved(paths, said)

    def _healthy(self) -> bool:
        """Whether the tool can read an empty file; one that cannot is broken itself."""
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "probe.py").touch()
            return monotonic() < self.deadline and isinstance(self._once(["probe.py"], Path(folder)), Parsed)

    def _once(self, paths: Sequence[str], cwd: Path | None = None) -> Parsed | str:
        """Call the tool; its parsed output, or why there is none."""
        started = monotonic()
        try:
            with tempfile.TemporaryDirectory() as scratch:
                return self._call(paths, cwd or self.root, Path(scratch))
        finally:
            with self.lock:
                self.seconds += monotonic() - started

    def _call(self, paths: Sequence[str], cwd: Path, scratch: Path) -> Parsed | str:
        try:
            done = run(
                self.analyzer.command(self.executable, [f"./{path}" for path in paths], scratch),
                cwd=cwd,
                timeout_s=max(0.1, self.deadline - monotonic()),
                env={**_ENVIRONMENT, "HOME": str(scratch), **self.analyzer.env},
                limits=Limits(output_bytes=_OUTPUT_BYTES),
                cancelled=self.cancelled,
                sandbox=analyzer_sandbox(self.sandbox, cwd, scratch),
            )
        except ElexirionError as error:
            if error.cause == "cancelled":
                raise
            return error.message
        if done.truncated:
            return "it said more than can be read"
        if done.exit_code not in self.analyzer.good_exits:
            return f"exit code {done.exit_code}: {_last(done.stderr or done.stdout)}"
        try:
            return self._named(self.analyzer.parse(done.stdout, done.stderr), frozenset(paths))
        except (ValueError, KeyError, TypeError) as error:
            return f"its output could not be read ({error}): {_last(done.stderr or done.stdout)}"

    def _named(self, parsed: Parsed, paths: frozenset[str]) -> Parsed:
        """Name every file as we name it."""

        def ours(path: str) -> str:
            inside = path.removeprefix(f"{self.root}/")
            while inside.startswith("./"):
                inside = inside[2:]
            if inside not in paths:
                raise ValueError(f"it names a file that it was not given: {path[:_REASON_CHARACTERS]!r}")
            return inside

        findings = tuple(replace(found, path=ours(found.path)) for found in parsed.findings)
        return Parsed(findings, tuple((ours(path), why) for path, why in parsed.unparsed))


def split(paths: Sequence[str], analyzer: Analyzer, workers: int) -> list[list[str]]:
    """Shares of `paths`, dealt in turn so that big folders spread; bounded by files and by the argument list."""
    if not paths or analyzer.whole_program:
        return [list(paths)] if paths else []
    per_share = max(_LEAST_FILES, -(-len(paths) // (workers * _CHUNKS_PER_WORKER)))
    wanted = -(-len(paths) // min(per_share, analyzer.chunk_files))
    wanted = max(wanted, -(-sum(len(path.encode()) + 11 for path in paths) // _ARGUMENT_BYTES))
    return [list(paths[start::wanted]) for start in range(wanted)]


def analyzer_sandbox(base: Sandbox, root: Path, scratch: Path) -> Sandbox:
    """What an analyzer may see: the scanned tree and our rules, read-only; it writes into a folder of its own."""
    return replace(base, writable=(scratch,), readable=(root, RULES), protected=(), network=False)


def version(executable: str, sandbox: Sandbox) -> str | None:
    """Ask the program its version; None where it cannot say."""
    try:
        with tempfile.TemporaryDirectory() as home:
            folder = Path(home)
            confined = analyzer_sandbox(sandbox, folder, folder)
            done = run([executable, "--version"], cwd=folder, timeout_s=20, env=_ENVIRONMENT, sandbox=confined)
    except ElexirionError:
        return None
    words = done.stdout.split()
    return next((word for word in words if word[:1].isdigit() and "." in word), None)


def _given_up(paths: Sequence[str], reason: str) -> Outcome:
    return Outcome(unparsed=tuple((path, f"not examined: {reason}") for path in paths), failed=reason)


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:_REASON_CHARACTERS] if lines else "it said nothing"
