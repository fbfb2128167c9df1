"""Who depends on whom: importers of a file, directly and through others."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

Files = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Importer:
    """A file that imports something: where, and as it is written; both None for files of one Go package."""

    path: str
    line: int | None
    module: str | None


@dataclass(frozen=True, slots=True)
class Reached:
    """A file that depends on the ones asked about: over how many imports, and through which file."""

    importer: Importer
    depth: int
    via: str


@dataclass(slots=True)
class Graph:
    """Importers by what they import; a package of many files is one target, so the graph stays as small as the text."""

    importers: dict[Files, list[Importer]] = field(default_factory=dict)
    targets: dict[str, list[Files]] = field(default_factory=dict)

    def add(self, importer: Importer, files: Files) -> None:
        """Note that a file imports the given ones."""
        if files not in self.importers:
            self.importers[files] = []
            for path in files:
                self.targets.setdefault(path, []).append(files)
        self.importers[files].append(importer)

    def direct(self, path: str) -> list[Importer]:
        """The importers of a file, each once with its first line, by path."""
        first: dict[str, Importer] = {}
        for importer in self._of(path, set()):
            known = first.get(importer.path)
            if importer.path != path and (known is None or _order(importer) < _order(known)):
                first[importer.path] = importer
        return [first[name] for name in sorted(first)]

    def impact(self, paths: Sequence[str], max_depth: int | None) -> list[Reached]:
        """Everything that depends on the given files, nearest first, then by path."""
        reached: dict[str, Reached] = {}
        asked: set[Files] = set()
        frontier, depth = sorted(set(paths)), 0
        known = set(frontier)
        while frontier and (max_depth is None or depth < max_depth):
            depth += 1
            found: dict[str, Reached] = {}
            for via in frontier:
                for importer in self._of(via, asked):
                    if importer.path not in known:
                        found.setdefault(importer.path, Reached(importer, depth, via))
            known |= found.keys()
            frontier = sorted(found)
            reached |= {path: found[path] for path in frontier}
        return list(reached.values())

    def _of(self, path: str, asked: set[Files]) -> Iterable[Importer]:
        for files in self.targets.get(path, ()):
            if files not in asked:
                asked.add(files)
                yield from self.importers[files]


def _order(importer: Importer) -> tuple[bool, int]:
    return importer.line is None, importer.line or 0
