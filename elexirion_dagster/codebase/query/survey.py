"""Reading the symbols or imports of many files, in processes of their own that a hostile file may end."""

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from elexirion_dagster.codebase.query.worker import CPU_S
from elexirion_dagster.errors import ElexirionError, InputError
from elexirion_dagster.shell import Completed, Limits, run

Wanted = Literal["symbols", "imports"]
Record = dict[str, Any]
Found = tuple[str, list[Record]]
"""A path and what was found in it."""

_PACKAGES = Path(__file__).parents[3]
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from {module} import main; main()"
_COMMAND = (_PROGRAM.format(module="elexirion_dagster.codebase.query.worker"), str(_PACKAGES))
_MOST_FILES, _LEAST_FILES = 400, 40
_OUTPUT_BYTES = 64 * 1024 * 1024
_MEMORY_MB = 1024
_REASON_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Means:
    """What a question may use: processes at a time, seconds in all, and who hears how far it is (done, in all)."""

    workers: int
    timeout_s: float
    cancelled: threading.Event | None = None
    on_progress: Callable[[int, int], None] = lambda _done, _all: None


@dataclass(frozen=True, slots=True)
class Unread:
    """A file that could not be read, or not in full; `line` is the first bad one where that is known."""

    path: str
    line: int | None
    reason: str


@dataclass(slots=True)
class _Share:
    """The files of one process, [path, language] each."""

    root: Path
    files: list[tuple[str, str]]
    wanted: Wanted
    deadline: float
    cancelled: threading.Event | None

    def read(self) -> tuple[list[Found], list[Unread]]:
        """Read them all; a file that ends the process is named, and another process goes on behind it."""
        found: list[Found] = []
        unread: list[Unread] = []
        left = self.files
        while left:
            done = self._run(left)
            answers = list(_answers(done))
            found += [(answer["path"], answer["found"]) for answer in answers]
            bad = [answer for answer in answers if answer["reason"]]
            unread += [Unread(answer["path"], answer["line"], answer["reason"]) for answer in bad]
            left = left[len(answers) :]
            if left:
                if not answers and self._run([]).exit_code != 0:
                    message = f"the reader of source files cannot start: {_last(done)}"
                    raise ElexirionError(message, cause="command_failed", mend="See `elexirion doctor`.")
                unread.append(Unread(left[0][0], None, _why(done)))
                left = left[1:]
        return found, unread

    def _run(self, files: Sequence[tuple[str, str]]) -> Completed:
        done = run(
            [sys.executable, "-I", "-c", *_COMMAND],
            cwd=self.root,
            timeout_s=max(0.1, self.deadline - monotonic()),
            stdin=json.dumps({"root": str(self.root), "files": files, "wanted": self.wanted}),
            limits=Limits(memory_mb=_MEMORY_MB, output_bytes=_OUTPUT_BYTES),
            cancelled=self.cancelled,
        )
        if done.truncated:
            raise InputError("the files hold more than can be answered", mend="Ask for fewer: include, exclude.")
        return done


def survey(
    root: Path, files: Sequence[Mapping[str, Any]], wanted: Wanted, means: Means
) -> Iterator[tuple[list[Found], list[Unread]]]:
    """Read `files` (records of `list_files`), share by share as they come in.

    Raises ElexirionError with the cause `timeout`, Cancelled, and InputError where there is too much.
    """
    deadline = monotonic() + means.timeout_s
    done = 0
    with ThreadPoolExecutor(max_workers=means.workers) as pool:
        shares = [_Share(root, part, wanted, deadline, means.cancelled) for part in _split(files, means.workers)]
        futures = {pool.submit(share.read): len(share.files) for share in shares}
        try:
            for future in as_completed(futures):
                done += futures[future]
                yield future.result()
                means.on_progress(done, len(files))
        finally:
            pool.shutdown(cancel_futures=True)


def _split(files: Sequence[Mapping[str, Any]], workers: int) -> list[list[tuple[str, str]]]:
    """Shares of the files, dealt in turn so that big folders spread."""
    pairs = [(str(file["path"]), str(file["language"])) for file in files]
    shares = max(-(-len(pairs) // _MOST_FILES), min(workers, -(-len(pairs) // _LEAST_FILES)))
    return [pairs[start::shares] for start in range(shares)]


def _answers(done: Completed) -> Iterator[Record]:
    """The whole lines of what a process said."""
    for line in done.stdout.split("\n")[:-1]:
        yield json.loads(line)


def _why(done: Completed) -> str:
    if done.exit_code == -signal.SIGPROF:
        return f"it takes more than {CPU_S:g} s to parse"
    if done.exit_code < 0 or "MemoryError" in done.stderr:
        return f"the parser gave up on it, at most {_MEMORY_MB} MB of memory (signal {-done.exit_code})"
    return f"it could not be read: {_last(done)}"


def _last(done: Completed) -> str:
    lines = done.stderr.strip().splitlines() or [f"exit code {done.exit_code}"]
    return lines[-1][:_REASON_CHARACTERS]
