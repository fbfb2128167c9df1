"""Source text beside findings: the span, its hash, and every secret out of it."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from elexirion_dagster.codebase.analyzers.base import MASK, RawFinding
from elexirion_dagster.codebase.fingerprints import mark
from elexirion_dagster.records import Finding, Json
from elexirion_dagster.redact import Redactor

_MAX_LINES = 10
_MAX_CHARACTERS = 2000
_MARGIN = 200
_LINE_END = re.compile(r"\r\n|\r|\n")
_LITERAL = re.compile(r"(?s)(\"\"\"|''').*?(?:\1|\Z)|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'")
_MASK = f'"{MASK}"'


@dataclass(frozen=True, slots=True)
class _Source:
    """One file: its lines as they are and as they may be shown, and its hard-coded passwords."""

    path: str
    lines: Sequence[str]
    shown: Sequence[str]
    passwords: frozenset[str]


def finish(tool_findings: Iterable[tuple[str, RawFinding]], path: str, text: str, redactor: Redactor) -> list[Finding]:
    """Complete the findings (each with its tool's name) of the one file at `path` whose content is `text`."""
    found = list(tool_findings)
    lines = _LINE_END.split(text)
    passwords = [raw for _, raw in found if raw.secret is not None]
    values = frozenset(raw.secret for raw in passwords if raw.secret)
    source = _Source(path, lines, _shown(lines, passwords, redactor), values)
    return mark([_finding(tool, raw, source, redactor) for tool, raw in found], text)


def _finding(tool: str, raw: RawFinding, source: _Source, redactor: Redactor) -> Finding:
    line, end_line = _within(raw.line, len(source.lines)), _within(raw.end_line, len(source.lines))
    end_line = max(line, end_line)
    column, end_column = _columns(raw, source.lines[line - 1], source.lines[end_line - 1])
    if line == end_line:
        end_column = max(column, end_column)
    return Finding(
        tool=tool,
        rule=raw.rule,
        severity=raw.severity,
        confidence=raw.confidence,
        path=source.path,
        line=line,
        column=column,
        end_line=end_line,
        end_column=end_column,
        message=_without(redactor.text(raw.message), source.passwords),
        snippet=_cut(source.shown, line, end_line, column),
        snippet_hash=_hash(_cut(source.lines, line, end_line, column)),
        url=raw.url,
        fix=_fix(raw, source, redactor),
    )


def _fix(raw: RawFinding, source: _Source, redactor: Redactor) -> tuple[Mapping[str, Json], ...] | None:
    """The change as it is, or none at all: one without its secrets would break the code."""
    texts = [edit["text"] for edit in raw.fix or ()]
    clean = all(_without(redactor.text(text), source.passwords) == text for text in texts)
    return raw.fix if clean and sum(map(len, texts)) <= _MAX_CHARACTERS else None


def _within(line: int, count: int) -> int:
    return min(max(line, 1), count)


def _columns(raw: RawFinding, first: str, last: str) -> tuple[int, int]:
    """1-based first and last column in characters, inside their lines."""
    start, end = raw.column or 1, len(last) if raw.end_column is None else raw.end_column
    if raw.byte_columns:
        start = len(first.encode()[: start - 1].decode("utf-8", "ignore")) + 1
        end = len(last.encode()[:end].decode("utf-8", "ignore"))
    return min(max(start, 1), max(len(first), 1)), min(max(end, 1), max(len(last), 1))


def _cut(lines: Sequence[str], line: int, end_line: int, column: int) -> str:
    picked = list(lines[line - 1 : min(end_line, line - 1 + _MAX_LINES)])
    if len(picked[0]) > _MAX_CHARACTERS:  # minified code: show the place, not the beginning of the line
        picked[0] = picked[0][max(0, column - 1 - _MARGIN) :]
    return "\n".join(picked)[:_MAX_CHARACTERS]


def _hash(snippet: str) -> str:
    return hashlib.sha256(" ".join(snippet.split()).encode("utf-8", "replace")).hexdigest()[:16]


def _shown(lines: Sequence[str], passwords: Sequence[RawFinding], redactor: Redactor) -> Sequence[str]:
    """Take every secret out of the lines, redacted as one text (which keeps its lines): a secret may cross them."""
    masked = list(lines)
    for raw in passwords:
        first, last = _within(raw.line, len(lines)) - 1, _within(raw.end_line, len(lines))
        masked[first:last] = _mask_literals(masked[first:last])
    text = _without("\n".join(masked), frozenset(raw.secret for raw in passwords if raw.secret))
    return redactor.text(text).split("\n")


def _mask_literals(lines: Sequence[str]) -> list[str]:
    def mask(literal: re.Match[str]) -> str:
        return _MASK + "\n" * literal[0].count("\n")

    return _LITERAL.sub(mask, "\n".join(lines)).split("\n")


def _without(text: str, values: frozenset[str]) -> str:
    for value in values:
        text = re.sub(rf"([\"'`]){re.escape(value)}\1", _MASK, text)
    return text
