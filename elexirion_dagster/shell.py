"""Run one command without a shell: a deadline, a scrubbed environment, resource limits, and a sandbox if asked for.

The command runs under a supervisor (`sandbox.supervisor`), which ends everything that it started, however it ends.
"""

import errno
import os
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from elexirion_dagster.errors import Cancelled, ElexirionError, InputError
from elexirion_dagster.sandbox.isolation import Confined, Kind, confine
from elexirion_dagster.sandbox.places import locate, toolchains
from elexirion_dagster.sandbox.policy import Sandbox
from elexirion_dagster.sandbox.supervised import Supervised
from elexirion_dagster.sandbox.supervisor import NOT_STARTED, TOO_MANY_PROCESSES

_SHOWN_CHARACTERS = 300
_MB = 1024 * 1024
RUN_VARIABLE = "ELEXIRION_RUN"
"""Says, in the environment of commands, which run they belong to: whoever finds its worker dead can end them."""


@dataclass(frozen=True)
class Limits:
    """What one command may use; memory, processor time and file size hold for each of its processes."""

    memory_mb: int = 4096
    """Memory that it can write to; it may reserve 32 GB more of address space, as WebAssembly and Java do."""
    cpu_s: int | None = None
    """Processor time."""
    file_mb: int = 1024
    """Size of any file it writes, and of all its temporary files together in a sandbox."""
    processes: int = 2048
    """Processes at a time, their threads included where the kernel counts them."""
    output_bytes: int = 10_000_000
    """How much of stdout, and of stderr, is kept; the rest is read and dropped."""


@dataclass(frozen=True)
class Completed:
    """What a command came to.

    A negative `exit_code` is the signal that ended it; under bubblewrap that is 128 + signal, as in a shell. `stdout`
    is text, or, where bytes were asked for, empty beside `stdout_bytes`.
    """

    args: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str
    duration_s: float
    truncated: bool
    stdout_bytes: bytes = b""
    isolation: Kind = "none"
    """What it was isolated by."""


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
    sandbox: Sandbox | None = None,
) -> Completed:
    """Run a program and wait for it; whatever it started and left behind is killed. `raw`: its output as bytes.

    `sandbox`: None for programs that we start for ourselves. Raises InputError (folder, arguments), ElexirionError with
    the cause `command_failed` (not started, too many processes) or `timeout`, PolicyError (a sandbox is required and
    there is none), and Cancelled. An exit code other than 0 is a result, not an error.
    """
    if cancelled is not None and cancelled.is_set():
        raise Cancelled
    started = time.monotonic()
    limits = limits or Limits()
    confined = _confined(args, cwd, environment(cwd, env or {}), sandbox, limits)
    running = _start(confined, args[0], cwd, limits, with_stdin=stdin is not None)
    try:
        running.open(stdin or "")
        running.watch(started + timeout_s, cancelled)
        finished = running.exited
    finally:
        running.end()
    _check(running, confined.kind, args[0], limits)
    if not finished:
        raise _stopped(args[0], timeout_s, cancelled)
    return _completed(running, args, time.monotonic() - started, confined.kind, raw=raw)


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


def _confined(args: Sequence[str], cwd: Path, env: dict[str, str], sandbox: Sandbox | None, limits: Limits) -> Confined:
    if not args or not args[0]:
        raise InputError("a command needs the name of a program", mend="Write it as a list: [git, status].")
    if not cwd.is_dir():
        raise InputError(f"the folder {cwd} does not exist", mend="Name an existing folder as cwd.")
    if sandbox is not None:
        env = {**toolchains(os.environ), **env}
        if locate(args[0], cwd, env["PATH"]) is None:
            raise _cannot_start(args[0], FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
    return confine(sandbox, args, cwd=cwd, env=env, scratch_bytes=limits.file_mb * _MB)


def _start(confined: Confined, name: str, cwd: Path, limits: Limits, *, with_stdin: bool) -> Supervised:
    options = (*_words(limits), *confined.options)
    try:
        running = Supervised(confined.program, options, confined.environment, cwd=cwd, with_stdin=with_stdin)
    except ValueError as error:
        raise InputError(f"the command '{name}' cannot be run: {error}") from error
    except OSError as error:
        raise _cannot_start(name, error) from error
    running.keep_bytes = limits.output_bytes
    return running


def _check(running: Supervised, kind: Kind, name: str, limits: Limits) -> None:
    """Raise ElexirionError where the supervisor, or bubblewrap, says that the program did not run to its end."""
    what, _, number = running.text("report").rpartition(" ")
    if what == NOT_STARTED:
        raise _cannot_start(name, OSError(int(number), os.strerror(int(number))))
    if running.text("report") == TOO_MANY_PROCESSES:
        message = f"'{name}' was stopped: it had more than {limits.processes} processes"
        raise ElexirionError(message, cause="command_failed", mend="Let it start fewer at a time.")
    stderr = running.text("stderr")
    if kind == "bubblewrap" and running.process.returncode == 1 and stderr.startswith("bwrap: "):
        message = f"cannot start '{name}' in its sandbox: {stderr.strip()[:_SHOWN_CHARACTERS]}"
        raise ElexirionError(message, cause="command_failed", mend="Set `sandbox: off` on the step if it must run.")


def _completed(running: Supervised, args: Sequence[str], duration_s: float, kind: Kind, *, raw: bool) -> Completed:
    return Completed(
        args=tuple(args),
        exit_code=running.process.returncode,
        stdout="" if raw else running.text("stdout"),
        stderr=running.text("stderr"),
        duration_s=duration_s,
        truncated=running.truncated,
        stdout_bytes=bytes(running.read["stdout"]) if raw else b"",
        isolation=kind,
    )


def _stopped(name: str, timeout_s: float, cancelled: threading.Event | None) -> ElexirionError:
    if cancelled is not None and cancelled.is_set():
        return Cancelled(f"the run was cancelled while '{name}' ran")
    message = f"'{name}' was stopped after {timeout_s:g} s"
    return ElexirionError(message, cause="timeout", mend="Raise timeout_s, or give the command less to do.")


def _words(limits: Limits) -> list[str]:
    words = {
        "memory": limits.memory_mb * _MB,
        "cpu": limits.cpu_s,
        "file": limits.file_mb * _MB,
        "core": 0,
        "processes": limits.processes,
    }
    return [f"{name}={value}" for name, value in words.items() if value is not None]


def _cannot_start(name: str, error: OSError) -> ElexirionError:
    reason = error.strerror or str(error)
    mend = "Install it, or name it by its full path." if isinstance(error, FileNotFoundError) else None
    return ElexirionError(f"cannot start '{name}': {reason}", cause="command_failed", mend=mend)
