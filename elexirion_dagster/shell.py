"""Run one command without a shell: deadline for the whole process group, scrubbed environment, resource limits."""

import contextlib
import os
import resource
import selectors
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from elexirion_dagster.errors import Cancelled, ElexirionError, InputError

_WAKE_S = 0.25  # how often a cancellation is looked for
_TERM_S = 2.0  # from SIGTERM to SIGKILL
_DRAIN_S = 1.0  # how long an ended command's output is still read when something else holds its pipe
_CHUNK = 65_536
_MB = 1024 * 1024
RUN_VARIABLE = "ELEXIRION_RUN"
"""Says, in the environment of commands, which run they belong to: whoever finds its worker dead can end them."""


@dataclass(frozen=True)
class Limits:
    """What one command may use; memory and file size hold for each of its processes."""

    memory_mb: int = 4096
    """Address space."""
    cpu_s: int | None = None
    """Processor time."""
    file_mb: int = 1024
    """Size of any file it writes."""
    output_bytes: int = 10_000_000
    """How much of stdout, and of stderr, is kept; the rest is read and dropped."""


@dataclass(frozen=True)
class Completed:
    """What a command came to; a negative `exit_code` is the signal that ended it.

    `stdout` is text, or, where bytes were asked for, empty beside `stdout_bytes`.
    """

    args: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str
    duration_s: float
    truncated: bool
    stdout_bytes: bytes = b""


def run(
    args: Sequence[str],
    *,
    cwd: Path,
    timeout_s: float,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    limits: Limits | None = None,
    cancelled: threading.Event | None = None,
    raw: bool = False,
) -> Completed:
    """Run a program and wait for it; whatever it started and left behind is killed. `raw`: its output as bytes.

    Raises InputError (no such folder, unusable arguments), ElexirionError with the cause `command_failed` (cannot be
    started) or `timeout`, and Cancelled. An exit code other than 0 is a result, not an error.
    """
    if cancelled is not None and cancelled.is_set():
        raise Cancelled
    started = time.monotonic()
    running = _Running(_start(args, cwd, env or {}, with_stdin=stdin is not None), limits or Limits())
    try:
        running.open(stdin or "")
        running.watch(started + timeout_s, cancelled)
        finished = running.exited
    finally:
        running.end()
    if not finished and cancelled is not None and cancelled.is_set():
        raise Cancelled(f"the run was cancelled while '{args[0]}' ran")
    if not finished:
        message = f"'{args[0]}' was stopped after {timeout_s:g} s"
        raise ElexirionError(message, cause="timeout", mend="Raise timeout_s, or give the command less to do.")
    return Completed(
        tuple(args),
        running.process.returncode,
        "" if raw else running.text("stdout"),
        running.text("stderr"),
        time.monotonic() - started,
        running.truncated,
        bytes(running.read["stdout"]) if raw else b"",
    )


def environment(cwd: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """Build the environment of a command: nothing of ours but where programs, folders and the time zone are."""
    base = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": os.environ.get("TZ", "UTC"),
        "HOME": str(cwd),
        "TMPDIR": tempfile.gettempdir(),
    }
    marked = {RUN_VARIABLE: os.environ[RUN_VARIABLE]} if RUN_VARIABLE in os.environ else {}
    return {**base, **extra, **marked}


def _start(args: Sequence[str], cwd: Path, env: Mapping[str, str], *, with_stdin: bool) -> subprocess.Popen[bytes]:
    if not args or not args[0]:
        raise InputError("a command needs the name of a program", mend="Write it as a list: [git, status].")
    if not cwd.is_dir():
        raise InputError(f"the folder {cwd} does not exist", mend="Name an existing folder as cwd.")
    try:
        return subprocess.Popen(
            list(args),
            cwd=cwd,
            env=environment(cwd, env),
            stdin=subprocess.PIPE if with_stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
    except ValueError as error:
        raise InputError(f"the command '{args[0]}' cannot be run: {error}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        mend = "Install it, or name it by its full path." if isinstance(error, FileNotFoundError) else None
        raise ElexirionError(f"cannot start '{args[0]}': {reason}", cause="command_failed", mend=mend) from error


@dataclass
class _Running:
    """A started command: its pipes, what was read so far, and its end."""

    process: subprocess.Popen[bytes]
    limits: Limits
    exited: bool = False
    truncated: bool = False
    exit_fd: int | None = None
    unwritten: memoryview = field(default_factory=lambda: memoryview(b""))
    read: dict[str, bytearray] = field(default_factory=lambda: {"stdout": bytearray(), "stderr": bytearray()})
    selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)

    def open(self, stdin: str) -> None:
        """Limit the child and listen to its pipes and its end."""
        self._limit()
        if hasattr(os, "pidfd_open"):
            self.exit_fd = os.pidfd_open(self.process.pid)
            self.selector.register(self.exit_fd, selectors.EVENT_READ, "exit")
        self.unwritten = memoryview(stdin.encode(errors="replace"))
        for name in ("stdin", "stdout", "stderr"):
            pipe = getattr(self.process, name)
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                event = selectors.EVENT_WRITE if name == "stdin" else selectors.EVENT_READ
                self.selector.register(pipe, event, name)

    def watch(self, deadline: float, cancelled: threading.Event | None) -> None:
        """Serve the pipes until the command ends, the deadline passes or the run is cancelled."""
        while not self.exited:
            left = deadline - time.monotonic()
            if left <= 0 or (cancelled is not None and cancelled.is_set()):
                return
            self._serve(left if cancelled is None and self.exit_fd is not None else min(left, _WAKE_S))

    def end(self) -> None:
        """Stop whatever still runs, read what is left in the pipes, reap, close."""
        family = [] if self.exited else self._family()
        if not self.exited:
            self._signal(signal.SIGTERM, family)
            self.watch(time.monotonic() + _TERM_S, None)
        self._signal(signal.SIGKILL, family)
        self.process.wait()
        self._drain(time.monotonic() + _DRAIN_S)
        self._close()

    def text(self, name: str) -> str:
        """Decode what was kept of one stream."""
        return self.read[name].decode(errors="replace")

    def _serve(self, timeout_s: float) -> None:
        for key, _ in self.selector.select(timeout_s):
            if key.data == "exit":
                self.exited = True
            elif key.data == "stdin":
                self._write()
            else:
                self._read(key.data)
        if self.exit_fd is None:
            self.exited = self.process.poll() is not None

    def _read(self, name: str) -> None:
        pipe = getattr(self.process, name)
        try:
            chunk = os.read(pipe.fileno(), _CHUNK)
        except BlockingIOError:
            return
        if not chunk:
            self.selector.unregister(pipe)
            return
        room = self.limits.output_bytes - len(self.read[name])
        self.truncated = self.truncated or len(chunk) > room
        self.read[name] += chunk[: max(room, 0)]

    def _write(self) -> None:
        pipe = self.process.stdin
        if pipe is None:
            return
        try:
            self.unwritten = self.unwritten[os.write(pipe.fileno(), self.unwritten[:_CHUNK]) :]
        except BlockingIOError:
            return
        except OSError:
            self.unwritten = memoryview(b"")
        if not self.unwritten:
            self.selector.unregister(pipe)
            pipe.close()

    def _drain(self, deadline: float) -> None:
        while self._open_outputs() and (left := deadline - time.monotonic()) > 0:
            self._serve(min(left, _WAKE_S))

    def _open_outputs(self) -> bool:
        return any(key.data in self.read for key in self.selector.get_map().values())

    def _close(self) -> None:
        self.selector.close()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        if self.exit_fd is not None:
            os.close(self.exit_fd)

    def _family(self) -> list[psutil.Process]:
        """List the descendants, also those that left the group."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.Error:
            return []

    def _signal(self, number: signal.Signals, family: Sequence[psutil.Process]) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)

    def _limit(self) -> None:
        """Limit the running child; platforms without prlimit run it unlimited."""
        if not hasattr(resource, "prlimit"):
            return
        for kind, wanted in (
            (resource.RLIMIT_AS, self.limits.memory_mb * _MB),
            (resource.RLIMIT_CPU, self.limits.cpu_s),
            (resource.RLIMIT_FSIZE, self.limits.file_mb * _MB),
            (resource.RLIMIT_CORE, 0),
        ):
            if wanted is not None:
                with contextlib.suppress(ProcessLookupError):
                    _, hard = resource.prlimit(self.process.pid, kind)
                    bound = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
                    resource.prlimit(self.process.pid, kind, (bound, bound))
