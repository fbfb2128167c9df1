"""Writing files of a run's workspace: what the system says becomes an error with its cause."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from elexirion_dagster.codebase.writing import write_below
from elexirion_dagster.errors import InputError
from elexirion_dagster.store.home import storage_error

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def put(workspace: Path, path: str, data: bytes) -> Path:
    """Write a file of the workspace, whole or not at all, and return its real place.

    Raises PolicyError for a path that leads out or belongs to git, InputError, StorageError.
    """
    with told(path):
        return write_below(workspace, path, [data])


@contextmanager
def told(path: str) -> Iterator[None]:
    """Put in words what the system says while `path` is changed: a full disk ends the run, all else is the path's."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise storage_error(error, Path(path)) from error
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise InputError(f"{path!r} does not exist", mend="Name a file or folder that is there.") from error
        raise InputError(f"{path!r} cannot be written: {error.strerror}", mend="Name another place.") from error
