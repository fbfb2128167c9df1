"""What a model says it found: a claim counts when it quotes a line that is really there, and says something new."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from elexirion_dagster.codebase.analyzers.base import RawFinding
from elexirion_dagster.codebase.analyzers.snippets import finish
from elexirion_dagster.codebase.files import read_text
from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.records import Finding, Severity, line_marks
from elexirion_dagster.redact import Redactor

TOOL = "review"
"""The tool whose findings a model's are."""

Record = Mapping[str, Any]

_MOST_LINES = 10
_PART_CHARACTERS = 12
_NUMBER = re.compile(r"^\s*\d+\| ?")
_WORD = re.compile(r"\w{2}")
_RULE = re.compile(r"[^a-z0-9]+")
_RULE_CHARACTERS = 40
_SHOWN = 200
_MAX_KB = 65_536


@dataclass(slots=True)
class Settled:
    """Claims that count as findings, the others with their `reason`, and files nobody reviewed or could read.

    `marks` has the `line_marks` of each file that was reviewed, by which findings that are not claimed again are known
    to be there still.
    """

    findings: list[Finding] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    unread: list[dict[str, str]] = field(default_factory=list)
    marks: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Source:
    """A file's lines with white space folded, as they are and as a model got to see them."""

    lines: Sequence[str]
    shown: Sequence[str]

    def places(self, quote: Sequence[str]) -> Iterator[int]:
        """The lines (from 1) at which the quote begins; a single long line may be quoted in part."""
        for lines in (self.lines, self.shown):
            for at in range(len(lines) - len(quote) + 1):
                if lines[at : at + len(quote)] == quote or (
                    len(quote) == 1 and len(quote[0]) >= _PART_CHARACTERS and quote[0] in lines[at]
                ):
                    yield at + 1


def settle(
    reviews: Sequence[Record],
    files: Sequence[Record],
    *,
    root: Path,
    known: Sequence[Record],
    redactor: Redactor,
) -> Settled:
    """Judge what `reviews` ({path, claims}) claim of `files` (records of a list, below `root`).

    A claim is {quote, line, rule, severity, message}, `line` a hint. `known` are findings that need not be claimed
    again. Every file without a review is named in `unread`.
    """
    settled = Settled()
    said: dict[str, list[Record]] = defaultdict(list)
    for review in reviews:
        claims = review["claims"] if isinstance(review["claims"], list) else []
        said[str(review["path"])] += [claim for claim in claims if isinstance(claim, Mapping)]
    lines_known: dict[str, set[int]] = defaultdict(set)
    for finding in known:
        last = min(finding["end_line"], finding["line"] + _MOST_LINES - 1)
        lines_known[finding["path"]].update(range(finding["line"], last + 1))
    for file in files:
        path = str(file["path"])
        if path not in said:
            settled.unread.append({"path": path, "tool": TOOL, "reason": "not reviewed"})
            continue
        _settle_file(file, said.pop(path), lines_known[path], settled, (root, redactor))
    for path, claims in said.items():
        settled.rejected += [_rejected(path, claim, "no such file was reviewed", redactor) for claim in claims]
    return settled


def _settle_file(
    file: Record, claims: Sequence[Record], taken: set[int], settled: Settled, means: tuple[Path, Redactor]
) -> None:
    root, redactor = means
    path = str(file["path"])
    try:
        text = read_text(file, granted=(root,), max_kb=_MAX_KB)
    except ElexirionError as error:
        settled.unread.append({"path": path, "tool": TOOL, "reason": redactor.text(error.message)})
        settled.rejected += [_rejected(path, claim, "the file cannot be read any more", redactor) for claim in claims]
        return
    shown = redactor.text(text)
    settled.marks[path] = line_marks(shown)
    source = _Source(_folded(text), _folded(shown))
    found: dict[tuple[int, str], RawFinding] = {}
    for claim in claims:
        raw = _found(path, claim, source)
        if isinstance(raw, str):
            settled.rejected.append(_rejected(path, claim, raw, redactor))
        elif raw.line in taken:
            settled.rejected.append(_rejected(path, claim, "an analyzer found that line already", redactor))
        elif (raw.line, raw.rule) in found:
            settled.rejected.append(_rejected(path, claim, "claimed twice", redactor))
        else:
            found[raw.line, raw.rule] = raw
    settled.findings += finish([(TOOL, raw) for _, raw in sorted(found.items())], path, text, redactor)


def _found(path: str, claim: Record, source: _Source) -> RawFinding | str:
    """The claim as a finding at the place that it quotes; or why it is none."""
    quote = _quoted(str(claim.get("quote") or ""))
    if not any(_WORD.search(line) for line in quote):
        return "it quotes nothing"
    if len(quote) > _MOST_LINES:
        return f"it quotes more than {_MOST_LINES} lines"
    hint = claim.get("line")
    said = hint if isinstance(hint, int) else 1
    line = min(source.places(quote), key=lambda at: (abs(at - said), at), default=None)
    if line is None:
        return "the file has no such line"
    if claim.get("severity") not in get_args(Severity):
        return "it has no severity"
    return RawFinding(
        rule=_RULE.sub("-", str(claim.get("rule") or "").lower()).strip("-")[:_RULE_CHARACTERS] or "problem",
        severity=claim["severity"],
        confidence="medium",
        path=path,
        line=line,
        end_line=line + len(quote) - 1,
        message=" ".join(str(claim.get("message") or "").split()) or "The model gives no reason.",
    )


def _quoted(quote: str) -> list[str]:
    """The quoted lines, white space folded, without blank ones around them or the numbers a prompt gave them."""
    lines = [_fold(_NUMBER.sub("", line)) for line in quote.strip().splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _folded(text: str) -> list[str]:
    return [_fold(line) for line in re.split(r"\r\n|\r|\n", text)]


def _fold(line: str) -> str:
    return " ".join(line.split())


def _rejected(path: str, claim: Record, reason: str, redactor: Redactor) -> dict[str, Any]:
    """A claim that does not count, as far as somebody who wonders needs it."""
    kept = {name: claim.get(name) for name in ("line", "rule", "severity", "quote", "message")}
    told: dict[str, Any] = redactor.tree({"path": path, "reason": reason, **kept})
    return {
        name: value[:_SHOWN] if isinstance(value, str) and name != "path" else value for name, value in told.items()
    }
