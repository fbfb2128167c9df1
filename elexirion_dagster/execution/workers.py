"""Who works on a run: a file per run, locked by its process for as long as that lives.

The kernel lets go of the lock when the process ends, however it ends, and does not hand it to processes that it
started: so the lock says without doubt whether a run is still worked on, also when nobody saw the end.
"""

import fcntl
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from elexirion_dagster.errors import StorageError
from elexirion_dagster.store.home import check_name

GRACE_S = 15.0
"""How long a worker that was asked to end may take before it is killed."""
_CLAIM_S = 1.0
"""A look at the file locks it for a moment: a claim tries again for so long."""
_LOOK_S = 0.05
_LOG_CHARS = 4_000

_own: dict[Path, int] = {}
"""The files that this process holds. To open and close one of them again would drop its lock."""


def claim(folder: Path, run_id: str) -> bool:
    """Become the worker of a run until this process ends; False when another one is."""
    path = _file(folder, run_id)
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _CLAIM_S
    while not _lock(descriptor):
        if time.monotonic() > deadline:
            os.close(descriptor)
            return False
        time.sleep(_LOOK_S)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps({"pid": os.getpid()}).encode(), 0)
    _own[path] = descriptor
    return True


@contextmanager
def working_on(folder: Path, run_id: str) -> Iterator[None]:
    """Be the worker of a run inside the block. Raises StorageError when another process is."""
    if not claim(folder, run_id):
        raise StorageError(f"another process works on run {run_id}", mend="Wait for it, or give the run another id.")
    try:
        yield
    finally:
        path = _file(folder, run_id)
        path.unlink(missing_ok=True)
        os.close(_own.pop(path))


def known(folder: Path, run_id: str) -> bool:
    """Whether a worker of this run ever was there."""
    return _file(folder, run_id).exists()


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
        if _lock(descriptor):
            return None
        said = os.pread(descriptor, 100, 0)
    finally:
        os.close(descriptor)
    with suppress(ValueError, KeyError, TypeError):
        return int(json.loads(said)["pid"])
    return None  # it has the lock and is about to write its pid


def stop(folder: Path, run_id: str) -> threading.Thread | None:
    """Ask the worker of a run to end, as Ctrl-C would; a thread kills it after GRACE_S. None when there is none."""
    pid = worker(folder, run_id)
    if pid is None:
        return None
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)
    thread = threading.Thread(target=_end, args=(folder, run_id, pid), name="elexirion-stop", daemon=True)
    thread.start()
    return thread


def _end(folder: Path, run_id: str, pid: int) -> None:
    deadline = time.monotonic() + GRACE_S
    while worker(folder, run_id) == pid:
        if time.monotonic() > deadline:
            with suppress(ProcessLookupError):
                (os.killpg if os.getpgid(pid) == pid else os.kill)(pid, signal.SIGKILL)
            return
        time.sleep(_LOOK_S)


def log_file(folder: Path, run_id: str) -> Path:
    """Where what a worker prints by itself goes."""
    return _file(folder, run_id).with_suffix(".log")


def last_lines(folder: Path, run_id: str) -> str:
    """The end of what a worker printed."""
    try:
        text = log_file(folder, run_id).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text[-_LOG_CHARS:].strip()


def _file(folder: Path, run_id: str) -> Path:
    return folder / f"{check_name(run_id)}.json"


def _lock(descriptor: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
