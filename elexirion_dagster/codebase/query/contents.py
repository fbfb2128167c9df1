"""Which files, and which definitions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from elexirion_dagster.codebase.files import read_text
from elexirion_dagster.codebase.globs import matcher
from elexirion_dagster.codebase.query.code_base import Answer, Code
from elexirion_dagster.codebase.query.survey import Record, Unread, survey
from elexirion_dagster.errors import Cancelled, ElexirionError


def find_files(code: Code, *, name: str | None, contains: str | None) -> Answer:
    """Records of `list_files`, each with the first `line` that has the text (None where no text is asked for)."""
    fits = matcher([name] if name else ())
    records, unread = [], []
    for file in code.chosen:
        if code.means.cancelled and code.means.cancelled.is_set():
            raise Cancelled
        if name and not fits(file["path"]):
            continue
        try:
            line = _line_of(code.root, file, contains) if contains else None
        except ElexirionError as error:
            unread.append(Unread(file["path"], None, error.message))
            continue
        if not contains or line:
            records.append({**file, "line": line})
    return code.answer(records, unread)


def _line_of(root: Path, file: Mapping[str, Any], contains: str) -> int | None:
    text = read_text(file, granted=(root,))
    at = text.find(contains)
    return text.count("\n", 0, at) + 1 if at >= 0 else None


def find_symbols(code: Code, *, name: str | None, kinds: Sequence[str], of: Sequence[str] | None = None) -> Answer:
    """`{path, line, end_line, name, kind, parent, public, language}` of every definition, or of those in some files."""
    if of is not None:
        asked = frozenset(of)
        code = replace(code, chosen=[file for file in code.chosen if file["path"] in asked], skipped=[])
    fits = matcher([name] if name else ())
    by_path: dict[str, list[Record]] = {}
    unread: list[Unread] = []
    languages = {file["path"]: file["language"] for file in code.chosen}
    for found, bad in survey(code.root, code.source(), "symbols", code.means):
        unread += bad
        for path, symbols in found:
            kept = [one for one in symbols if (not kinds or one["kind"] in kinds) and (not name or fits(one["name"]))]
            by_path[path] = [{"path": path, **one, "language": languages[path]} for one in kept]
        code.bound(sum(len(symbols) for symbols in by_path.values()))
    return code.answer([record for path in sorted(by_path) for record in by_path[path]], unread)
