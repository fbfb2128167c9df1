"""Going down a folder: every file in a fixed order, no link followed, none slipped in while going."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from elexirion_dagster.codebase.confine import open_real
from elexirion_dagster.errors import InputError, unreadable

_MOST_DEPTH = 60
_MOST_FILES = 50_000


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder below the first: its path (empty, or with a slash at its end), its files' names, where to open them.

    `at` is open for as long as this folder is looked at; `left_out` are the folders in it that are not entered.
    """

    path: str
    names: tuple[str, ...]
    left_out: tuple[str, ...]
    at: int


def descend(real: Path, shown: str, *, enters: Callable[[str], bool] = lambda _: True) -> Iterator[Folder]:
    """Every folder from `real`, a place without links, down; `enters` is asked with each folder's name.

    Raises InputError where there is no such folder, or one too large or too deep.
    """
    seen = 0
    with _opened(real, shown) as top:
        for where, folders, names, at in os.fwalk(".", dir_fd=top, follow_symlinks=False):
            path = f"{where.removeprefix('.').removeprefix('/')}/".removeprefix("/")
            links = [name for name in folders if _is_link(name, at)]
            real_folders = sorted(set(folders).difference(links))
            folders[:] = [name for name in real_folders if enters(name)]
            left_out = tuple(name for name in real_folders if not enters(name))
            seen += len(names) + len(folders)
            if seen > _MOST_FILES or path.count("/") > _MOST_DEPTH:
                what = f"more than {_MOST_FILES:,} files" if seen > _MOST_FILES else f"more than {_MOST_DEPTH} levels"
                raise InputError(f"{shown!r} holds {what}", mend="Name a folder in it.")
            yield Folder(path, tuple(sorted([*names, *links])), left_out, at)


def _is_link(name: str, at: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=at, follow_symlinks=False).st_mode)
    except FileNotFoundError:  # it went away meanwhile
        return False


@contextmanager
def _opened(real: Path, shown: str) -> Iterator[int]:
    try:
        top = open_real(real, os.O_DIRECTORY)
    except OSError as error:
        raise InputError(f"{shown!r} {unreadable(error)}", mend="Name an existing folder.") from error
    try:
        yield top
    finally:
        os.close(top)
