"""Folders of runs that are under way: held, so that nobody removes them meanwhile."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from elexirion_dagster.store.home import storage_error


@dataclass(frozen=True, slots=True)
class Held:
    """A folder that is held by this process; the system lets go of it when the process ends, however it ends."""

    folder: Path
    handle: int

    def alone(self) -> bool:
        """Whether nobody else holds the folder; from then on nobody else can, until this one lets go."""
        return _locked(self.handle)


@contextmanager
def held(folder: Path) -> Iterator[Held]:
    """Hold a folder beside others who do; it is made when it is not there. Raises StorageError."""
    try:
        handle = _opened(folder)
    except OSError as error:
        raise storage_error(error, folder) from error
    try:
        yield Held(folder, handle)
    finally:
        os.close(handle)


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Whether nobody holds the folder; nobody can meanwhile. Raises OSError where there is none."""
    handle = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield _locked(handle)
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _opened(folder: Path) -> int:
    """The folder, locked; made anew where somebody removed it before the lock was there."""
    while True:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(handle, fcntl.LOCK_SH)
        if folder.exists() and os.path.samestat(os.fstat(handle), folder.stat()):
            return handle
        os.close(handle)
