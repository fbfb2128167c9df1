"""What may be removed of a home: workspaces and reports of runs that ended long ago."""

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path

from elexirion_dagster.store.holding import claimed
from elexirion_dagster.store.home import Home, storage_error

Release = Callable[[Path], bool]
"""Lets go of a workspace that is about to be removed; False keeps it."""


@dataclass(frozen=True, slots=True)
class PruneReport:
    """How many workspaces and reports were removed, the bytes of their files, and old workspaces that were kept."""

    workspaces: int
    reports: int
    freed_bytes: int
    kept: tuple[Path, ...] = ()


def prune(home: Home, *, older_than_days: int, now: datetime, release: Release = lambda _: True) -> PruneReport:
    """Remove workspaces and reports in which nothing changed for so many days; nothing else is ever removed.

    A workspace of a run that is under way stays, however old, and one that `release` does not let go of.
    """
    before = (now - timedelta(days=older_than_days)).timestamp()
    try:
        old = list(_untouched_since(home.runs, before))
        workspaces = {path: _remove_workspace(path, release) for path in old}
        reports = [_remove(path) for path in _untouched_since(home.reports, before)]
    except OSError as error:
        raise storage_error(error, Path(error.filename or home.path)) from error
    freed = [size for size in workspaces.values() if size is not None]
    kept = tuple(path for path, size in workspaces.items() if size is None)
    return PruneReport(len(freed), len(reports), sum(freed) + sum(reports), kept)


def _remove_workspace(path: Path, release: Release) -> int | None:
    """The bytes that were freed; None where the workspace is kept."""
    if path.is_symlink() or not path.is_dir():
        return _remove(path)
    with claimed(path) as free:
        size = _size(path)
        if not free or not release(path):
            return None
        if path.exists():
            _remove(path)
        return size


def _untouched_since(folder: Path, before: float) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if max((status.st_mtime for status in _stats(path)), default=before) < before:
            yield path


def _remove(path: Path) -> int:
    size = _size(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    return size


def _size(path: Path) -> int:
    return sum(status.st_size for status in _stats(path) if stat.S_ISREG(status.st_mode))


def _stats(path: Path) -> Iterator[os.stat_result]:
    inside = (Path(folder, name) for folder, names, files in os.walk(path) for name in (*names, *files))
    for each in chain([path], inside):
        with suppress(FileNotFoundError):  # a run at work removes files while we look
            yield each.lstat()
