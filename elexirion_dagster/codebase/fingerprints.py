"""What makes a finding the same finding tomorrow: its rule, its code, what it stands in, and which of equal ones it is.

Lines and paths are no part of it, nor are white space, comments, kinds of quotes and last commas, which formatters
change. It is made of redacted text, so that nobody can guess a secret from it.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from elexirion_dagster.codebase.languages import language_of
from elexirion_dagster.codebase.symbols import enclosing
from elexirion_dagster.records import Finding

_DIGITS = 15
_HASH_COMMENTS = frozenset({"python", "ruby", "elixir", "shell", "perl", "r", "julia", "yaml", "toml", "make"})
_LITERAL = r"(\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*')"
_COMMENT: Mapping[str, re.Pattern[str]] = {
    "#": re.compile(rf"{_LITERAL}|#[^\n]*"),
    "//": re.compile(rf"{_LITERAL}|//[^\n]*"),
}
_TOKEN = re.compile(r"\w+|[^\w\s]")
_LAST_COMMA = re.compile(r", (?=[)\]}])")


def mark(findings: Sequence[Finding], text: str) -> list[Finding]:
    """Give the findings of one file, whose content is `text`, their symbols and fingerprints, in the order given."""
    if not findings:
        return []
    lines = re.split(r"\r\n|\r|\n", text)
    symbols = enclosing(lines, {finding.line for finding in findings})
    seen: Counter[tuple[str, ...]] = Counter()
    marked: dict[int, Finding] = {}
    for at, finding in sorted(enumerate(findings), key=lambda pair: (pair[1].line, pair[1].column, pair[1].message)):
        symbol = symbols[finding.line]
        codes = (finding.snippet, _span(finding, lines))
        key = (finding.tool, finding.rule, *(_normalised(finding, code) for code in codes), symbol)
        seen[key] += 1
        digest = hashlib.sha256(json.dumps([*key, seen[key]]).encode()).hexdigest()[:_DIGITS]
        fingerprint = f"f{digest}"  # the letter keeps YAML from reading it as a number
        marked[at] = replace(finding, symbol=symbol, fingerprint=fingerprint)
    return [marked[at] for at in range(len(findings))]


def _normalised(finding: Finding, code: str) -> str:
    sign = "#" if language_of(finding.path, b"") in _HASH_COMMENTS else "//"
    bare = _COMMENT[sign].sub(lambda match: match[1] or "", code)
    return _LAST_COMMA.sub("", " ".join(_TOKEN.findall(bare)).replace("'", '"'))


def _span(finding: Finding, lines: Sequence[str]) -> str:
    """The part of one line that is meant, which tells two findings in it apart; nothing of what was redacted."""
    if finding.line != finding.end_line or finding.line > len(lines):
        return ""
    span = lines[finding.line - 1][finding.column - 1 : finding.end_column]
    return span if span in finding.snippet else ""
