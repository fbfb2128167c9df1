"""What files import, who imports them, and what a change of them may reach."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from elexirion_dagster.codebase.languages import language_of
from elexirion_dagster.codebase.query.catalog import RULES
from elexirion_dagster.codebase.query.code_base import Answer, Code
from elexirion_dagster.codebase.query.elixir import DEFINES
from elexirion_dagster.codebase.query.go import PACKAGE
from elexirion_dagster.codebase.query.graph import Graph, Importer
from elexirion_dagster.codebase.query.rules import Repository, Resolve
from elexirion_dagster.codebase.query.survey import Record, Unread, survey
from elexirion_dagster.codebase.query.syntax import Written
from elexirion_dagster.errors import InputError

_ELIXIR = "elixir"


@dataclass(frozen=True, slots=True)
class _Imports:
    """Every import of some files, by path and line, and how to look it up."""

    written: list[tuple[str, Written]]
    resolvers: dict[str, Resolve]
    languages: dict[str, str]
    unread: list[Unread]

    def resolved(self) -> Iterator[tuple[str, Written, tuple[str, ...]]]:
        """Each import with the files of the repository that it means."""
        for path, written in self.written:
            yield path, written, self.resolvers[self.languages[path]](path, written)


def find_imports(code: Code, *, of: Sequence[str] | None) -> Answer:
    """`{path, line, module, names, files, external}` of every import; `external` where no file of ours is meant."""
    asked = None if of is None else frozenset(of)
    files = code.source() if asked is None else _asked(code, asked)
    code = code if asked is None else replace(code, skipped=[])
    imports = _imports(code, files)
    records = [
        {
            "path": path,
            "line": written.line,
            "module": written.module,
            "names": list(written.names),
            "files": list(files),
            "external": not files,
        }
        for path, written, files in imports.resolved()
        if written.form != PACKAGE and (asked is None or path in asked)
    ]
    return code.answer(records, imports.unread)


def find_dependents(code: Code, *, of: Sequence[str]) -> Answer:
    """`{path, line, module, of, is_test}` of every file that imports one of the given ones."""
    graph, imports = _graph(code)
    records = [
        {"path": found.path, "line": found.line, "module": found.module, "of": path, "is_test": is_test(found.path)}
        for path in dict.fromkeys(of)
        for found in graph.direct(path)
    ]
    return code.answer(records, imports.unread)


def find_impact(code: Code, *, of: Sequence[str], max_depth: int | None) -> Answer:
    """`{path, depth, via, line, module, is_test}` of all that depends on the given files, nearest first."""
    graph, imports = _graph(code)
    records = [
        {
            "path": found.importer.path,
            "depth": found.depth,
            "via": found.via,
            "line": found.importer.line,
            "module": found.importer.module,
            "is_test": is_test(found.importer.path),
        }
        for found in graph.impact(of, max_depth)
    ]
    return code.answer(records, imports.unread)


def is_test(path: str) -> bool:
    """Whether a file is a test by the conventions of its language."""
    rules = RULES.get(language_of(path, b""))
    return rules is not None and rules.is_test(path)


def paths_of(code: Code, of: Any) -> list[str]:
    """The paths that `of` names: a path, a file record, or a list of them. Raises InputError for any that is none."""
    known = {file["path"] for file in code.listed.files}
    reasons = {one["path"]: one["reason"] for one in code.listed.skipped}
    paths = [_path(code, one) for one in (of if isinstance(of, list | tuple) else [of])]
    for path in paths:
        if path in reasons:
            raise InputError(f"{path} cannot be asked about: {reasons[path]}", mend="Name another file.")
        if path not in known:
            near = get_close_matches(path, known, n=1)
            meant = f"Did you mean {near[0]}? " if near else ""
            raise InputError(
                f"there is no file {path!r} among those of {code.root}",
                mend=f"{meant}Name it relative to root; git must track it.",
            )
    return list(dict.fromkeys(paths))


def _path(code: Code, one: Any) -> str:
    path = one.get("path") if isinstance(one, dict) else one
    if not isinstance(path, str) or not path:
        raise InputError(
            f"`of` must be a path, a file record or a list of them, it has {str(one)[:80]!r}",
            mend="Write of: src/a.py, or the files of a list step.",
        )
    place = os.path.normpath(os.path.join(one.get("root", "") if isinstance(one, dict) else "", path))  # noqa: PTH118 - lexical
    inside = os.path.relpath(place, code.root) if os.path.isabs(place) else place  # noqa: PTH117 - lexical
    return inside.replace(os.sep, "/")


def _asked(code: Code, of: frozenset[str]) -> list[Record]:
    """The files to read for the imports of some: all of Elixir, where only the text says what a file defines."""
    languages = {file["path"]: file["language"] for file in code.listed.files}
    for path in sorted(of):
        if languages[path] not in RULES:
            raise InputError(f"imports of {path} cannot be read", mend=f"Languages are: {', '.join(RULES)}.")
    elixir = any(languages[path] == _ELIXIR for path in of)
    return [file for file in code.listed.files if file["path"] in of or (elixir and file["language"] == _ELIXIR)]


def _graph(code: Code) -> tuple[Graph, _Imports]:
    imports = _imports(code, code.source())
    graph = Graph()
    for path, written, files in imports.resolved():
        if files:
            itself = written.form == PACKAGE
            graph.add(Importer(path, None if itself else written.line, None if itself else written.module), files)
    return graph, imports


def _imports(code: Code, files: Sequence[Record]) -> _Imports:
    """The imports of files, looked up among all files of the code base."""
    by_path: dict[str, list[Record]] = {}
    unread: list[Unread] = []
    for found, bad in survey(code.root, files, "imports", code.means):
        by_path.update(found)
        unread += bad
        code.bound(sum(len(imports) for imports in by_path.values()))
    every = [(path, Written.from_json(one)) for path in sorted(by_path) for one in by_path[path]]
    modules: dict[str, list[str]] = {}
    for path, written in every:
        if written.form == DEFINES:
            modules.setdefault(written.module, []).append(path)
    repository = Repository(
        code.root,
        frozenset(file["path"] for file in code.listed.files),
        {name: tuple(dict.fromkeys(places)) for name, places in modules.items()},
    )
    languages = {file["path"]: file["language"] for file in files}
    resolvers = {name: RULES[name].resolver(repository) for name in sorted(set(languages.values()))}
    return _Imports([one for one in every if one[1].form != DEFINES], resolvers, languages, unread)
