"""Who scans what now: one scan of a repository by a pipeline at a time, its batches side by side."""

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from elexirion_dagster.errors import Cancelled, ElexirionError, InputError
from elexirion_dagster.store.home import Home, check_name, storage_error

_LOOK_S = 0.5
_MEND = "Wait for it to end (`elexirion ps` shows it), or end it with `elexirion stop`."


@contextmanager
def scanning(
    home: Home, scope: str, *, run: str, alone: bool, wait_s: float, cancelled: threading.Event | None = None
) -> Iterator[None]:
    """Hold a pipeline's scan of a repository (`scope` names both) for the block.

    `alone` is a whole scan: nobody else may scan. Otherwise it is one batch of several. Raises InputError (after
    `wait_s`) that names who holds it, StorageError.
    """
    handle = _opened(home, scope)
    try:
        _wait(home, scope, handle, alone=alone, until=time.monotonic() + wait_s, cancelled=cancelled)
        _note(handle, run)
        yield
    finally:
        os.close(handle)


def busy(home: Home, scope: str) -> str | None:
    """Who scans this now, in words; None where nobody does."""
    handle = _opened(home, scope)
    try:
        return None if _locked(handle, alone=True) else _who(home, scope)
    finally:
        os.close(handle)


def refuse_if_busy(home: Home, scope: str) -> None:
    """Raise InputError where somebody scans this now."""
    if who := busy(home, scope):
        raise InputError(f"this repository is being scanned by the same pipeline: {who}", mend=_MEND)


def _wait(home: Home, scope: str, handle: int, *, alone: bool, until: float, cancelled: threading.Event | None) -> None:
    while not _locked(handle, alone=alone):
        if cancelled is not None and cancelled.is_set():
            raise Cancelled
        if time.monotonic() >= until:
            message = f"this repository is being scanned by the same pipeline: {_who(home, scope)}"
            raise ElexirionError(message, cause="check_failed", mend=_MEND)
        time.sleep(_LOOK_S)


def _place(home: Home, scope: str) -> Path:
    return home.path / "scans" / f"{check_name(scope)}.lock"


def _opened(home: Home, scope: str) -> int:
    place = _place(home, scope)
    try:
        place.parent.mkdir(mode=0o700, exist_ok=True)
        return os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise storage_error(error, place) from error


def _locked(handle: int, *, alone: bool) -> bool:
    try:
        fcntl.flock(handle, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _note(handle: int, run: str) -> None:
    """Leave word of who holds it, for others to read; several batches overwrite one another's."""
    text = json.dumps({"run": run, "pid": os.getpid(), "since": time.strftime("%H:%M:%S", time.gmtime())}).encode()
    os.ftruncate(handle, 0)
    os.pwrite(handle, text, 0)


def _who(home: Home, scope: str) -> str:
    try:
        said = json.loads(_place(home, scope).read_bytes())
        return f"run {said['run']} (process {said['pid']}, since {said['since']} UTC)"
    except (OSError, ValueError, KeyError, TypeError):
        return "a run that has just begun"
