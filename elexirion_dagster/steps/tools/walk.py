"""The files below a folder, in a fixed order, for tools that look for some of them."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from elexirion_dagster.codebase.confine import open_real
from elexirion_dagster.codebase.files import FOREIGN_FOLDERS
from elexirion_dagster.codebase.look import printable
from elexirion_dagster.errors import InputError
from elexirion_dagster.steps.tools.place import ToolPlace

_MOST_DEPTH = 60
_MOST_FILES = 50_000


@dataclass(frozen=True, slots=True)
class Found:
    """One file: its path below the folder that was walked, how it is shown, and where to open it.

    `at` is the folder it lies in, open for as long as this file is looked at.
    """

    path: str
    shown: str
    name: str
    at: int


def files_below(place: ToolPlace, folder: str) -> Iterator[Found]:
    """Every file below a folder, folders of tools and caches left out; links are not followed.

    Raises PolicyError; InputError where there is no such folder or too many files.
    """
    real = place.find(folder)
    prefix = _prefix(place, real)
    seen = 0
    with _opened(real, folder) as top:
        for where, folders, names, at in os.fwalk(".", dir_fd=top, follow_symlinks=False):
            below = f"{where.removeprefix('.').removeprefix('/')}/".removeprefix("/")
            deep = below.count("/") >= _MOST_DEPTH
            folders[:] = [] if deep else sorted(name for name in folders if name not in FOREIGN_FOLDERS)
            place.go_on()
            for name in sorted(names):
                seen += 1
                if seen > _MOST_FILES:
                    raise InputError(f"{folder!r} holds more than {_MOST_FILES:,} files", mend="Name a folder in it.")
                yield Found(printable(below + name), shown(prefix + below + name), name, at)


def shown(path: str) -> str:
    """A path on one line, whatever stands in it."""
    plain = printable(path)
    return plain if plain.isprintable() else json.dumps(plain)


@contextmanager
def _opened(real: Path, folder: str) -> Iterator[int]:
    try:
        top = open_real(real, os.O_DIRECTORY)
    except OSError as error:
        raise InputError(
            f"{folder!r} cannot be looked into: {error.strerror}", mend="Name an existing folder."
        ) from error
    try:
        yield top
    finally:
        os.close(top)


def _prefix(place: ToolPlace, real: Path) -> str:
    """What makes a path below the folder one that the other tools take."""
    inside = real.is_relative_to(place.workspace)
    text = str(real.relative_to(place.workspace)) if inside else str(real)
    return "" if text == "." else f"{text.rstrip('/')}/"
