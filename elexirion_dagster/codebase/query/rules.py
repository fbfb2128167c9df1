"""What the rules of one language consist of, and the repository that imports are looked up in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from elexirion_dagster.codebase.files import read_text
from elexirion_dagster.codebase.query.syntax import Captures, Symbol, Written
from elexirion_dagster.errors import ElexirionError


@dataclass(frozen=True)
class Repository:
    """The paths of a code base (relative, forward slashes), and the files in which each Elixir module is defined."""

    root: Path
    paths: frozenset[str]
    modules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def folders(self) -> Mapping[str, tuple[str, ...]]:
        """The files that lie directly in each folder, in order; "" is the root."""
        found: dict[str, list[str]] = {}
        for path in sorted(self.paths):
            found.setdefault(folder(path), []).append(path)
        return {place: tuple(inside) for place, inside in found.items()}

    def named(self, *names: str) -> list[str]:
        """The paths of all files of these names, in order."""
        return sorted(path for path in self.paths if path.rpartition("/")[2] in names)

    def text(self, path: str) -> str:
        """The content of a small file; empty where it cannot be read."""
        try:
            return read_text({"root": str(self.root), "path": path}, granted=(self.root,))
        except ElexirionError:
            return ""


Resolve = Callable[[str, Written], tuple[str, ...]]
"""The files of the repository that an import in the file at a path means; none when it means something outside."""


@dataclass(frozen=True, slots=True)
class Rules:
    """One language.

    `grammar(path)` is the tree-sitter grammar; `definitions` and `imports` are its queries; `symbols` and `written`
    make records of their matches; `resolver` looks imports up; `is_test` knows a test by its path.
    """

    grammar: Callable[[str], object]
    definitions: str
    imports: str
    symbols: Callable[[Sequence[Captures]], list[Symbol]]
    written: Callable[[Sequence[Captures]], list[Written]]
    resolver: Callable[[Repository], Resolve]
    is_test: Callable[[str], bool]


def folder(path: str) -> str:
    """The folder of a path; "" for the root."""
    return path.rpartition("/")[0]


def below(place: str, path: str) -> str:
    """A path below a folder, where "" is the root."""
    return f"{place}/{path}" if place and path else place or path


def joined(place: str, relative: str) -> str | None:
    """A path with `.` and `..` from a folder; None where it leads out of the root."""
    parts = place.split("/") if place else []
    for part in relative.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def ancestors(path: str) -> list[str]:
    """The folders around a file, nearest first; the root is the last."""
    return ["" if str(parent) == "." else str(parent) for parent in PurePosixPath(path).parents]


def among(path: str, *names: str) -> bool:
    """Whether one of the folders around a file has one of these names."""
    return not set(names).isdisjoint(path.split("/")[:-1])
