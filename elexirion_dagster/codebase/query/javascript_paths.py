"""Which file a JavaScript or TypeScript specifier means: relative paths, and `paths` and `baseUrl` of tsconfig."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from elexirion_dagster.codebase.query.rules import Repository, Resolve, ancestors, folder, joined
from elexirion_dagster.codebase.query.syntax import Written

_TYPED = (".ts", ".tsx", ".d.ts", ".mts", ".cts")
_PLAIN = (".js", ".jsx", ".mjs", ".cjs")
_OTHER = (".json", ".vue", ".svelte")
_COMPILED = {".js": (".ts", ".tsx", ".d.ts"), ".jsx": (".tsx",), ".mjs": (".mts",), ".cjs": (".cts",)}
"""What the name of a compiled file may stand for."""
_CONFIGS = ("tsconfig.json", "jsconfig.json")
_MOST_EXTENDS = 10
_JSON_TOKEN = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_LAST_COMMA = re.compile(r'("(?:\\.|[^"\\])*")|,(?=\s*[}\]])', re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Options:
    """What a tsconfig says about modules: folders that bare names start from, and patterns with their targets."""

    bases: tuple[str, ...] = ()
    patterns: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def candidates(self, module: str) -> Iterator[str]:
        """Paths without ending that a bare name may mean, the most specific pattern first."""
        for pattern, targets in self.patterns:
            head, star, tail = pattern.partition("*")
            fits = module.startswith(head) and module.endswith(tail) and len(module) >= len(head) + len(tail)
            if fits if star else module == pattern:
                middle = module[len(head) : len(module) - len(tail)]
                yield from (target.replace("*", middle, 1) for target in targets)
                return
        for base in self.bases:
            if (place := joined(base, module)) is not None:
                yield place


@dataclass
class _Specifiers:
    repository: Repository
    options: dict[str, _Options] = field(default_factory=dict)

    def resolve(self, path: str, written: Written) -> tuple[str, ...]:
        """The file of an import, or none."""
        module = re.split(r"[?#]", written.module, maxsplit=1)[0] if written.module[:1] == "." else written.module
        endings = (*_TYPED, *_PLAIN, *_OTHER) if path.endswith(_TYPED) else (*_PLAIN, *_TYPED, *_OTHER)
        if module in (".", "..") or module.startswith(("./", "../")):
            place = joined(folder(path), module)
            candidates = iter([] if place is None else [place])
        else:
            candidates = self._options(path).candidates(module)
        files = (self._file(place, endings) for place in candidates)
        return tuple(file for file in [next((file for file in files if file), None)] if file and file != path)

    def _file(self, place: str, endings: tuple[str, ...]) -> str | None:
        """The file at a path: as written, for what it is compiled from, with an ending, or the folder's index."""
        paths = self.repository.paths
        stem, dot, ending = place.rpartition(".")
        sources = [stem + source for source in _COMPILED.get(dot + ending, ())]
        index = f"{place}/index" if place else "index"
        tries = [place, *sources, *(place + one for one in endings if place), *(index + one for one in endings)]
        return next((file for file in tries if file in paths), None)

    def _options(self, path: str) -> _Options:
        """The options of the nearest configuration around a file."""
        home = folder(path)
        if home not in self.options:
            places = (f"{place}/{name}" if place else name for place in ancestors(path) for name in _CONFIGS)
            nearest = next((place for place in places if place in self.repository.paths), None)
            self.options[home] = self._read(nearest) if nearest else _Options()
        return self.options[home]

    def _read(self, config: str) -> _Options:
        """What a configuration and those it extends say; the nearest word counts."""
        options, seen = _Options(), 0
        place: str | None = config
        while place is not None and seen < _MOST_EXTENDS:
            said = _relaxed(self.repository.text(place))
            own = _options(said, folder(place))
            options = _Options(options.bases or own.bases, options.patterns or own.patterns)
            above = said.get("extends")
            place = joined(folder(place), above) if isinstance(above, str) and above.startswith(".") else None
            if place is not None and place not in self.repository.paths:
                place = f"{place}.json"
            seen += 1
        return options


def _options(said: Mapping[str, Any], home: str) -> _Options:
    compiler = said.get("compilerOptions")
    compiler = compiler if isinstance(compiler, dict) else {}
    base, paths = compiler.get("baseUrl"), compiler.get("paths")
    start = joined(home, base) if isinstance(base, str) else None
    patterns = []
    for pattern, targets in (paths if isinstance(paths, dict) else {}).items():
        words = [target for target in targets if isinstance(target, str)] if isinstance(targets, list) else []
        places = [joined(home if start is None else start, word) for word in words]
        patterns.append((pattern, tuple(place for place in places if place)))
    patterns.sort(key=lambda one: (-len(one[0].partition("*")[0]), one[0]))
    return _Options((start,) if start is not None else (), tuple(patterns))


def _relaxed(text: str) -> dict[str, Any]:
    """JSON with comments and last commas; empty where it is none."""
    plain = _LAST_COMMA.sub(lambda match: match[1] or "", _JSON_TOKEN.sub(lambda match: match[1] or " ", text))
    try:
        said = json.loads(plain)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def resolver(repository: Repository) -> Resolve:
    """Make the function that looks specifiers up."""
    return _Specifiers(repository).resolve
