"""The journal: every run appends what happened to a file of its own; nothing is ever rewritten.

A line is `{"v": 1, "kind": …, "ts": "…Z", "root_run": …, "run": …, …fields}`, with `tenant` where the run has one
(its tag `elexirion/tenant`; before 0.2 in `run_started` only). The kinds of format 1 and their fields:

| kind | fields |
|---|---|
| `run_started` | pipeline, pipeline_hash, description, inputs, trigger, file, recovery_of, tags |
| `pin` | name, value |
| `intent` | call_id, path, request_hash, occurrence, attempt, provider, model, max_usd, max_tokens |
| `reply` | call_id, path, request_hash, occurrence, provider, model, reply, prompt, inputs, prompt_version, cost_usd |
| `call_failed` | call_id, path, request_hash, occurrence, attempt, provider, model, cause, message, prompt_version, status, usage, cost_usd, billed, retry_after_s |
| `given_up` | path, models, cause, refused |
| `tool_intent` | path, tool_use_id, name, arguments, occurrence |
| `tool` | path, tool_use_id, name, arguments, occurrence, text, is_error |
| `session` | path, session, max_tokens, seen |
| `exchange` | path, session, turns |
| `step` | path, step, step_type, status, input_hash, result, started_at, duration_s, attempts |
| `progress` | path, done, failed, total, note |
| `partial` | path, text, note |
| `findings` | path, findings, unparsed, tools |
| `scanned` | path, pipeline, repo, root, commit, branch, night, ruleset, model, prompt_version, files, renamed, deleted |
| `suppressions` | pipeline, repo, commit, entries |
| `score` | pipeline, step, path, name, source, value, error, comment, about |
| `feedback` | finding, pipeline, repo, fingerprint, path, tool, rule, verdict, reason, owner, expires, comment |
| `outputs` | outputs |
| `workspace` | path, kept |
| `recovery` | pipeline, cause, message, failed_at, action, rule, reason, launches, due_at, change, document, max_recoveries, max_wait_s, awaits, latest_at, launch, recovery_of |
| `adoption` | what, file |
| `run_finished` | status, cause, message, duration_s, cost_usd |

`run_finished` stands in a file of its own, `<run>.<status>.jsonl`, so that it is written once whoever sees the end first.
`recovery` is what was decided about the failed run `run`; `launches` are the runs (key, job, tags) that it starts.
Where it waits for providers, `awaits` has one list of models per call (one model of each must take calls again) and
`latest_at` the moment at which the wait ends in any case. `launch` is the key by which the failed run itself was started,
`recovery_of` the run that it went on with. `given_up` says that none of its `models` answered a call, for a cause that
passes; `refused` that the circuit breaker kept it from being sent.
`partial` is there only where calls are streamed to somebody who looks: lines of an answer as they come in, or a note of
how long calls take; the `reply` is what counts. A `tool_intent` is there only for a tool that must not be used twice.
`session` says which exchanges (ids) a call saw, `exchange` what it added (`turns`: role and text). `reply` is `reply_to_json`, `result` is `StepResult.to_json`, findings are `Finding.to_json`. Absent fields are unknown. A
`call_id` names one attempt: its intent and its one end have it in common, a further attempt has another.

`findings`: `tools` are those that looked; what another tool found before stays as it was, and so does what a tool of
`unparsed` (path, tool, reason) found in that file. Without `tools`, every tool looked. A finding has its `fingerprint`.
`scanned` ends a batch, after its findings: `files` are {path, blob, status: scanned · failed · excluded, reason},
`renamed` maps old paths to new ones (a file that was only renamed need not stand in `files`), `deleted` lists paths,
`commit` is null for a working tree. Batches of one scan share their `night`, the number from `scans.next_night`: it
orders scans where the clock does not; without it every root run is a scan of its own. `suppressions` is what the
repository's file said as a whole: {fingerprint, path, reason, owner, expires}. `feedback` is a person's word on one
finding (the id in `finding_states`): suppressed, accepted (it is right), rejected (it is wrong); or on one answer, with
about, pipeline, step, step_path, score (0 to 1), comment, expected in place of those fields. `score` is what an
expression of the pipeline or a word on a finding (`source`: expression, finding) gives the answer at `path`, from 0 to 1;
without a `value` its `error` says why there is none. `about` is the root run of the answer where the line is in another.
Of the pins, `prompt:NAME` is the version of a step's slot, and `canary:NAME` (hash, share, since) the one on trial.
"""  # noqa: E501  a table row is one line

import fcntl
import json
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Literal, NamedTuple, Self

from elexirion_dagster.errors import StorageError
from elexirion_dagster.records import Json
from elexirion_dagster.store.home import Home, check_name, storage_error, sync_folder

FORMAT = 1
"""Format of the lines; a reader refuses a higher one."""

Kind = Literal[
    "run_started",
    "pin",
    "intent",
    "reply",
    "call_failed",
    "given_up",
    "tool_intent",
    "tool",
    "session",
    "exchange",
    "step",
    "progress",
    "partial",
    "findings",
    "scanned",
    "suppressions",
    "score",
    "feedback",
    "outputs",
    "workspace",
    "recovery",
    "adoption",
    "run_finished",
]

_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_ascii = json.JSONEncoder(separators=(",", ":")).encode


class JournalWriter:
    """One run's file of lines in this process. Threads may share it; create it after a fork, not before.

    Lines wait in memory until one of the threads that want theirs written writes all of them in one go: a system call
    per line would make the threads of a fan-out hand the interpreter to and fro (0.3 ms an item, measured).
    """

    def __init__(self, home: Home, *, root_run: str, run: str, tenant: str | None = None) -> None:
        folder = home.journal / check_name(root_run)
        name = f"{check_name(run)}.{os.getpid()}"
        self.root_run = root_run
        self._head = _head(root_run, run, tenant)
        self._lock, self._file_lock = threading.Lock(), threading.Lock()
        self._waiting: list[bytes] = []
        self._appended = self._written = self._synced = 0
        self._lost: list[range] = []
        self._broken = False
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            self.path, fd = _file_of_its_own(folder, name)
            self._end_torn_line(fd)
        except OSError as error:
            raise storage_error(error, folder) from error
        self._fd: int | None = fd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, kind: Kind, *, durable: bool = False, later: bool = False, **fields: Json) -> None:
        """Add one line. `durable`: it is on the disk when this returns; threads that wait share one fsync.

        `later`: it may wait in memory for the next line, and is lost if the process is killed before.
        StorageError when the disk is full, broken or read-only; the file then still consists of whole lines.
        """
        data = _line(kind, self._head, fields)
        with self._lock:
            self._usable()
            self._waiting.append(data)
            self._appended += 1
            number = self._appended
        if durable or not later:
            self._put(number, durable=durable)

    def close(self) -> None:
        """Write what waits and close the file; a second time does nothing."""
        with self._file_lock:
            if self._fd is None:
                return
            try:
                if not self._broken:
                    self._write_waiting(self._fd)
            finally:
                os.close(self._fd)
                self._fd = None

    def _usable(self) -> int:
        if self._fd is None:
            raise StorageError(f"{self.path} is closed", mend="Append before the run's journal is closed.")
        if self._broken:
            raise StorageError(f"{self.path} failed before and cannot be trusted", mend="Start the run again.")
        return self._fd

    def _put(self, number: int, *, durable: bool) -> None:
        """Have line `number` in the file, and on the disk if `durable`, unless another thread saw to that."""
        with self._file_lock:
            fd = self._usable()
            if (self._synced if durable else self._written) < number:
                self._write_waiting(fd)
            if any(number in lines for lines in self._lost):
                raise StorageError(f"{self.path} could not be written", mend="Start the run again.")
            if durable and self._synced < number:
                self._sync(fd)

    def _write_waiting(self, fd: int) -> None:
        with self._lock:
            batch, self._waiting = self._waiting, []
            first, self._written = self._written + 1, self._appended
        try:
            self._write_whole(fd, b"".join(batch))
        except BaseException as error:
            self._lost.append(range(first, self._written + 1))
            if isinstance(error, OSError):
                raise storage_error(error, self.path) from error
            raise

    def _write_whole(self, fd: int, data: bytes) -> None:
        written = 0
        try:
            while written < len(data):
                written += os.write(fd, data[written:] if written else data)
        except BaseException:
            self._broken = True  # until the torn part is gone
            os.ftruncate(fd, os.fstat(fd).st_size - written)
            self._broken = False
            raise

    def _sync(self, fd: int) -> None:
        try:
            os.fsync(fd)
            if not self._synced:
                sync_folder(self.path.parent)
                sync_folder(self.path.parent.parent)
        except OSError as error:
            self._broken = True  # the kernel may have dropped the pages: a later fsync would lie
            raise storage_error(error, self.path) from error
        self._synced = self._written

    @staticmethod
    def _end_torn_line(fd: int) -> None:
        """End the line within which a process of the same pid died, so that ours begins a new one."""
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":
            os.write(fd, b"\n")


def append_once(
    home: Home, *, root_run: str, run: str, kind: Kind, name: str, tenant: str | None = None, **fields: Json
) -> bool:
    """Write one line into a file of its own, `<run>.<name>.jsonl`; False when that file is there already.

    For what several processes may say about a run and one of them should. The line is on the disk when this returns.
    StorageError when it cannot be written.
    """
    folder = home.journal / check_name(root_run)
    path = folder / f"{check_name(run)}.{name}.jsonl"
    if path.exists():
        return False
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".") as file:
            file.write(_line(kind, _head(root_run, run, tenant), fields))
            file.flush()
            os.fsync(file.fileno())
            try:
                os.link(file.name, path)
            except FileExistsError:  # another process was faster
                return False
        sync_folder(folder)
        sync_folder(folder.parent)
    except OSError as error:
        raise storage_error(error, path) from error
    return True


def _head(root_run: str, run: str, tenant: str | None) -> dict[str, Json]:
    """The fields that every line of a run has."""
    return {"root_run": root_run, "run": run, **({} if tenant is None else {"tenant": tenant})}


def _file_of_its_own(folder: Path, name: str) -> tuple[Path, int]:
    """Open `<name>.jsonl`, or `<name>.2.jsonl` and so on where a living writer has it.

    Two writers of one run in one process, or of equal pids in two containers, would have the same name.
    """
    for number in count(1):
        path = folder / (f"{name}.jsonl" if number == 1 else f"{name}.{number}.jsonl")
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
        except BaseException:
            os.close(fd)
            raise
        else:
            return path, fd
    raise AssertionError("a count has no end")


class Line(NamedTuple):
    """One whole line of a file: where it starts, its bytes, and what it says (None: not a journal line)."""

    start: int
    raw: bytes
    fields: dict[str, Json] | None


@dataclass
class Lines:
    """The lines of one root run, file by file; `skipped` counts the corrupt ones met so far."""

    files: tuple[Path, ...]
    skipped: int = 0

    def __iter__(self) -> Iterator[dict[str, Json]]:
        self.skipped = 0
        for file in self.files:
            for line in read_lines(file):
                if line.fields is None:
                    self.skipped += 1
                else:
                    yield line.fields


def lines(home: Home, root_run: str) -> Lines:
    """Read what was written about a root run and its recoveries; nothing if it is not known."""
    return Lines(files_of(home, root_run))


def files_of(home: Home, root_run: str) -> tuple[Path, ...]:
    """Name the journal files of a root run."""
    return tuple(sorted((home.journal / check_name(root_run)).glob("*.jsonl")))


def read_lines(file: Path, start: int = 0) -> Iterator[Line]:
    """Each whole line from byte `start` on; a torn last line is not there yet. StorageError on a newer format."""
    try:
        with file.open("rb") as stream:
            stream.seek(start)
            for raw in stream:
                if not raw.endswith(b"\n"):
                    return
                yield Line(start, raw, _parse(raw, file))
                start += len(raw)
    except OSError as error:
        raise storage_error(error, file) from error


def _parse(raw: bytes, file: Path) -> dict[str, Json] | None:
    try:
        fields = json.loads(raw.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or type(fields.get("v")) is not int:
        return None
    if fields["v"] > FORMAT:
        message = f"{file} holds lines of format {fields['v']}; this program knows formats up to {FORMAT}"
        raise StorageError(message, mend="Upgrade elexirion, or set ELEXIRION_HOME to another folder.")
    return fields


def _line(kind: Kind, head: Mapping[str, Json], fields: Mapping[str, Json]) -> bytes:
    ts = datetime.now(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
    return _encode({"v": FORMAT, "kind": kind, "ts": ts, **head, **fields})


def _encode(fields: dict[str, Json]) -> bytes:
    try:
        return _compact(fields).encode() + b"\n"
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can carry
        return _ascii(fields).encode() + b"\n"
