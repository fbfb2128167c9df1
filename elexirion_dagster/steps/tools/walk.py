"""The files below a folder, in a fixed order, for tools that look for some of them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from elexirion_dagster.codebase.descend import descend
from elexirion_dagster.codebase.files import FOREIGN_FOLDERS
from elexirion_dagster.codebase.look import printable
from elexirion_dagster.steps.tools.place import ToolPlace


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
    for inside in descend(real, folder, enters=lambda name: name not in FOREIGN_FOLDERS):
        place.go_on()
        for name in inside.names:
            path = inside.path + name
            yield Found(printable(path), shown(prefix + path), name, inside.at)


def shown(path: str) -> str:
    """A path on one line, whatever stands in it."""
    plain = printable(path)
    return plain if plain.isprintable() else json.dumps(plain)


def _prefix(place: ToolPlace, real: Path) -> str:
    """What makes a path below the folder one that the other tools take."""
    inside = real.is_relative_to(place.workspace)
    text = str(real.relative_to(place.workspace)) if inside else str(real)
    return "" if text == "." else f"{text.rstrip('/')}/"
