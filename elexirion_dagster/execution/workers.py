"""Who works on a run: a file per run, locked by its process for as long as that lives.

The kernel lets go of the lock when the process ends, however it ends, and does not hand it to processes that it
started: so the lock says without doubt whether a run is still worked on, also when nobody saw the end. What the file
says stays: a run is claimed once.
"""

import fcntl
import os
import signal
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Literal, get_args

import psutil

from elexirion_dagster.errors import StorageError
from elexirion_dagster.shell import RUN_VARIABLE
from elexirion_dagster.store.home import check_name

WORKERS = "workers"
"""Name of the folder of these files in the instance's folder."""
GRACE_S = 15.0
"""How long a worker that was asked to end may take before it is killed."""
_KILLED_S = 5.0
_LOOK_S = 0.05
_LOG_CHARS = 16_000  # the trace of a crash names every thread, and its first line says what happened
_FLOCK = "hhqqi4x" if sys.platform == "linux" else "qqihh"

Kind = Literal["warm", "terminal", "elsewhere"]
"""What claimed a run: a warm worker, a process in the user's terminal, or Dagster's default launcher, which has its own
ways to look after its processes."""

wanted_job: ContextVar[str | None] = ContextVar("wanted_job", default=None)
"""The one job that this process was started for; None where it may need any."""

_own: dict[Path, int] = {}
"""The files that this process holds. To open and close one of them again would drop its lock."""


def claim(folder: Path, run_id: str, kind: Kind) -> bool:
    """Become the worker of a run until this process ends; False when the run was ever claimed before."""
    path = _file(folder, run_id)
    if path in _own:
        return False
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not _lock(descriptor) or os.fstat(descriptor).st_size:
        os.close(descriptor)
        return False
    os.pwrite(descriptor, kind.encode(), 0)
    _own[path] = descriptor
    return True


def leave(folder: Path, run_id: str) -> bool:
    """Let something else work on a run: no worker can claim it any more. False when one has."""
    if not claim(folder, run_id, "elsewhere"):
        return False
    os.close(_own.pop(_file(folder, run_id)))
    return True


@contextmanager
def launching(folder: Path, run_id: str) -> Iterator[None]:
    """Show, inside the block, that this process is about to start the worker of a run."""
    folder.mkdir(mode=0o700, exist_ok=True)
    path = _launch_file(folder, run_id)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # unlike the lock of a claim it can be asked about inside this process
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def is_launching(folder: Path, run_id: str) -> bool:
    """Whether a living process is about to start the worker of a run."""
    try:
        descriptor = os.open(_launch_file(folder, run_id), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


@contextmanager
def working_on(folder: Path, run_id: str) -> Iterator[None]:
    """Be the worker of a run inside the block. Raises StorageError when another process is, or was."""
    if not claim(folder, run_id, "terminal"):
        raise StorageError(f"another process works on run {run_id}", mend="Wait for it, or give the run another id.")
    try:
        yield
    finally:
        path = _file(folder, run_id)
        path.unlink(missing_ok=True)
        os.close(_own.pop(path))


def claimed(folder: Path, run_id: str) -> Kind | None:
    """What claimed the run, dead or alive."""
    path = _file(folder, run_id)
    if path in _own:
        return _kind(os.pread(_own[path], 100, 0))
    try:
        return _kind(path.read_bytes())
    except FileNotFoundError:
        return None


def worker(folder: Path, run_id: str) -> int | None:
    """The pid of the process that works on a run, None when nobody does."""
    path = _file(folder, run_id)
    if path in _own:
        return os.getpid()
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return _holder(descriptor)
    finally:
        os.close(descriptor)


def end(folder: Path, run_ids: Iterable[str]) -> None:
    """Ask the workers of runs to end, as Ctrl-C would; kill those, with their children, that do not in GRACE_S."""
    pids = {run_id: pid for run_id in run_ids if (pid := worker(folder, run_id)) is not None}
    for pid in pids.values():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)
    deadline = time.monotonic() + GRACE_S
    while (left := [pid for run_id, pid in pids.items() if worker(folder, run_id) == pid]) and (
        time.monotonic() < deadline
    ):
        time.sleep(_LOOK_S)
    for pid in left:
        _kill(pid)


def end_left_behind(run_id: str) -> None:
    """Kill the commands that a worker which died without a word was running, with all that they started."""
    for one in psutil.process_iter():
        with suppress(psutil.Error):
            if one.environ().get(RUN_VARIABLE) == run_id and one.pid != os.getpid():
                _kill(one.pid)


def warm(folder: Path) -> list[str]:
    """The runs that warm workers are at."""
    runs = [file.stem for file in folder.glob("*.lock")]
    return [run for run in runs if claimed(folder, run) == "warm" and worker(folder, run) is not None]


def any_since(folder: Path, moment: float) -> bool:
    """Whether a run was claimed or launched since a moment (seconds since 1970)."""
    for file in folder.glob("*"):
        with suppress(FileNotFoundError):
            if file.stat().st_mtime >= moment:
                return True
    return False


def prune(folder: Path, before: float) -> int:
    """Remove the files of runs that nobody works on, last changed before this time; returns their bytes."""
    freed = 0
    for file in folder.glob("*.lock"):
        status = file.stat()
        if status.st_mtime < before and worker(folder, file.stem) is None:
            log = log_file(folder, file.stem)
            freed += status.st_size + (log.stat().st_size if log.exists() else 0)
            log.unlink(missing_ok=True)
            _launch_file(folder, file.stem).unlink(missing_ok=True)
            file.unlink()
    return freed


def log_file(folder: Path, run_id: str) -> Path:
    """Where what a worker prints by itself goes, and the trace of a crash."""
    return _file(folder, run_id).with_suffix(".log")


def last_lines(folder: Path, run_id: str) -> str:
    """The end of what a worker printed."""
    try:
        with log_file(folder, run_id).open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_CHARS))
            return log.read().decode(errors="replace").strip()
    except FileNotFoundError:
        return ""


def _file(folder: Path, run_id: str) -> Path:
    return folder / f"{check_name(run_id)}.lock"


def _launch_file(folder: Path, run_id: str) -> Path:
    return _file(folder, run_id).with_suffix(".launch")


def _kind(text: bytes) -> Kind | None:
    return next((kind for kind in get_args(Kind) if kind == text.decode()), None)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> int | None:
    """Who holds the lock; asking does not take it, so that two who ask do not take each other for the holder."""
    if sys.platform == "linux":
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    else:
        asked = struct.pack(_FLOCK, 0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET)
        _, _, pid, kind, _ = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    return None if kind == fcntl.F_UNLCK else int(pid)


def _kill(pid: int) -> None:
    """SIGKILL to a process and to all that it started, also those in groups of their own."""
    try:
        process = psutil.Process(pid)
        family = [*process.children(recursive=True), process]
    except psutil.NoSuchProcess:
        return
    for one in family:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(family, timeout=_KILLED_S)
