"""The lock around everything that is made when a home is used for the first time."""

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from elexirion_dagster.errors import StorageError

LOCK = "first_use.lock"
WAIT_S = 300.0
"""How long a process waits for another one: making everything takes seconds, on a busy machine a minute."""
_LOOK_S = 0.02
_SHOWN_CHARS = 200


@contextmanager
def first_use(home: Path, *, wait_s: float = WAIT_S) -> Iterator[None]:
    """Be the only process, and the only thread, that makes something in the home. Not reentrant.

    The kernel releases the lock when its process ends, however it ends. StorageError after `wait_s`, naming the process
    that holds the lock, and where the file system has no locks; OSError where the lock file cannot be opened.
    """
    descriptor = os.open(home / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _wait(descriptor, home, time.monotonic() + wait_s, wait_s)
        _sign(descriptor)
        yield
    finally:
        os.close(descriptor)


def _wait(descriptor: int, home: Path, deadline: float, wait_s: float) -> None:
    while not _locked(descriptor, home):
        if time.monotonic() >= deadline:
            message = f"{_holder(descriptor)} has been preparing {home} for more than {wait_s:.0f} s"
            raise StorageError(message, mend="Wait until that process ends, or end it, and try again.")
        time.sleep(_LOOK_S)


def _locked(descriptor: int, home: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # a network file system without a lock service
        message = f"files in {home} cannot be locked: {error.strerror}"
        raise StorageError(message, mend="Set ELEXIRION_HOME to a folder on a local disk of this machine.") from error
    return True


def _sign(descriptor: int) -> None:
    """Write who holds the lock, for those who wait in vain.

    What the command was given may be secret; a full disk does not matter here.
    """
    command = " ".join(sys.argv[:2])[:_SHOWN_CHARS]
    text = json.dumps({"pid": os.getpid(), "host": os.uname().nodename, "command": command})
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(errors="replace"), 0)


def _holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {holder['pid']} on {holder['host']} ({holder['command']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
