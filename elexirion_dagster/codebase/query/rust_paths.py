"""Which file a Rust path means: modules lie beside the file that declares them, crates where Cargo.toml says."""

import tomllib
from collections.abc import Iterator

from elexirion_dagster.codebase.query.rules import Repository, Resolve, ancestors, below, folder
from elexirion_dagster.codebase.query.syntax import Written

_ROOTS = ("lib.rs", "main.rs", "mod.rs", "build.rs")
_TARGETS = ("tests", "examples", "benches", "src/bin")
"""Folders below a crate in which every file is a crate of its own."""


class _Crates:
    """The crates of a repository and the way through their modules."""

    def __init__(self, repository: Repository) -> None:
        self._paths = repository.paths
        self._folders = repository.folders
        self._homes = {folder(path) for path in repository.named("Cargo.toml")}
        self._named = {name: home for home in sorted(self._homes) for name in _names(repository, home)}

    def resolve(self, path: str, written: Written) -> tuple[str, ...]:
        """The file of a module, or of the module that an item stands in."""
        here = self._inside(path, written.scope)
        found = self._declared(here, written.module) if written.form == "mod" else self._used(path, here, written)
        return (found,) if found and found != path else ()

    def _declared(self, here: str, name: str) -> str | None:
        places = (below(here, f"{name}.rs"), below(here, f"{name}/mod.rs"))
        return next((place for place in places if place in self._paths), None)

    def _used(self, path: str, here: str, written: Written) -> str | None:
        first, *rest = [part for part in written.module.split("::") if part] or [""]
        if first == "crate":
            root = self._root(path)
            return self._walk(self._inside(root, ()), rest) or root if root else None
        if first in ("self", "super"):
            depth = len(written.scope)
            segments = [first, *rest]
            while segments and segments[0] in ("self", "super"):
                depth -= segments.pop(0) == "super"
            return self._above(path, written.scope, depth, segments)
        if not written.module.startswith("::") and self._declared(here, first):
            return self._walk(here, [first, *rest])
        home = self._named.get(first)
        root = below(home, "src/lib.rs") if home is not None else None
        return (self._walk(self._inside(root, ()), rest) or root) if root in self._paths and root else None

    def _above(self, path: str, scope: tuple[str, ...], depth: int, segments: list[str]) -> str | None:
        """The path from a module `depth` levels inside the file, or (below zero) above it."""
        if depth >= 0:
            return self._walk(self._inside(path, scope[:depth]), segments) or path
        place = self._inside(path, ())
        for _ in range(-depth):
            place = folder(place)
        return self._walk(place, segments) or self._itself(place)

    def _walk(self, place: str, segments: list[str]) -> str | None:
        """The file of the longest way that leads through modules in files."""
        found = None
        for segment in segments:
            declared, inside = self._declared(place, segment), below(place, segment)
            if declared is None and inside not in self._folders:  # a folder alone: modules of an inline module
                break
            found, place = declared or found, inside
        return found

    def _itself(self, place: str) -> str | None:
        """The file of the module whose inner modules lie in a folder."""
        names = (f"{place}.rs", *(below(place, name) for name in _ROOTS))
        return next((name for name in names if name in self._paths), None)

    def _inside(self, path: str, scope: tuple[str, ...]) -> str:
        """The folder in which a file's modules lie, those inside `scope` of it."""
        here = folder(path) if self._is_root(path) else path.removesuffix(".rs")
        return below(here, "/".join(scope))

    def _is_root(self, path: str) -> bool:
        name, home = path.rpartition("/")[2], folder(path)
        return name in _ROOTS or any(home == below(crate, target) for crate in self._crate(path) for target in _TARGETS)

    def _crate(self, path: str) -> Iterator[str]:
        yield from (place for place in ancestors(path) if place in self._homes)

    def _root(self, path: str) -> str | None:
        """The file that `crate` means in a file."""
        if self._is_root(path) and not path.endswith("/mod.rs"):
            return path
        for crate in self._crate(path):
            places = (below(crate, "src/lib.rs"), below(crate, "src/main.rs"))
            return next((place for place in places if place in self._paths), None)
        return None


def _names(repository: Repository, home: str) -> list[str]:
    """What other crates call the crate in a folder."""
    try:
        said = tomllib.loads(repository.text(below(home, "Cargo.toml")))
    except (tomllib.TOMLDecodeError, RecursionError):
        return []
    tables = [table for table in (said.get("lib"), said.get("package")) if isinstance(table, dict)]
    names = [table["name"] for table in tables if isinstance(table.get("name"), str)]
    return [name.replace("-", "_") for name in names]


def resolver(repository: Repository) -> Resolve:
    """Make the function that looks paths up."""
    return _Crates(repository).resolve
