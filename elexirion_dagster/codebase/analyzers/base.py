"""What an analyzer is to us: how it is called, how its output is read, and how it rates what it finds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from elexirion_dagster.records import Confidence, Json, Severity

MASK = "[redacted:password]"
"""Stands for a hard-coded password that bandit found, which nothing but its place gives away."""

SEVERITIES: Mapping[str, Mapping[str, Severity]] = {
    # bandit rates each issue itself; nothing it reports is proven exploitable, so nothing is critical
    "bandit": {"HIGH": "high", "MEDIUM": "medium", "LOW": "low", "UNDEFINED": "info"},
    # ruff does not rate; the longest prefix of the rule counts
    "ruff": {
        "": "low",
        "F401": "info",  # an import nobody uses
        "F402": "medium",
        "F5": "medium",  # a format string and its arguments disagree
        "F541": "info",  # an f-string without placeholders
        "F6": "medium",  # comparisons and conditions that are always the same
        "F63": "high",
        "F7": "high",  # statements where they cannot stand
        "F811": "medium",
        "F82": "high",  # a name that does not exist: NameError when the line runs
        "F841": "low",
        "E9": "high",
        "B": "medium",
        "B007": "info",
        "B011": "low",
        "B028": "info",
        "B904": "low",
        "PLE": "high",
        "ASYNC": "medium",
        "RUF006": "medium",
    },
    # vulture reports certainties only, at the confidence we ask for
    "vulture": {"": "info", "unreachable": "medium", "unsatisfiable": "medium"},
    # the shipped rules carry ast-grep's own words
    "ast-grep": {"error": "high", "warning": "medium", "info": "low", "hint": "info"},
}
"""How each tool's rating maps to ours: the one table."""


@dataclass(frozen=True, slots=True)
class RawFinding:
    """A finding as the tool gives it: path as printed, 1-based lines, ends inclusive.

    Columns are 1-based characters; None means the whole line. `byte_columns` says that they count UTF-8 bytes.
    `secret` is the value of a hard-coded password (else None): it and the literals of these lines are masked. `fix` as
    in `records.Finding`.
    """

    rule: str
    severity: Severity
    confidence: Confidence
    path: str
    line: int
    message: str
    end_line: int
    column: int | None = None
    end_column: int | None = None
    url: str | None = None
    byte_columns: bool = False
    secret: str | None = None
    fix: tuple[Mapping[str, Json], ...] | None = None


@dataclass(frozen=True, slots=True)
class Parsed:
    """What one command's output says: findings, and files the tool could not read with its reason."""

    findings: tuple[RawFinding, ...] = ()
    unparsed: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Analyzer:
    """One tool.

    `command(executable, paths, scratch)` is the argument list; paths are relative to the working directory and start
    with `./`; `scratch` is an empty folder of its own. `parse(stdout, stderr)` reads the output and raises
    ValueError where it is none. Exit codes outside `good_exits` are crashes. `chunk_files` is how many files one
    process gets at most. A `whole_program` tool gets all files in one process, for it draws on what it sees elsewhere.
    """

    name: str
    languages: frozenset[str]
    command: Callable[[str, Sequence[str], Path], list[str]]
    parse: Callable[[str, str], Parsed]
    good_exits: frozenset[int]
    chunk_files: int = 4000
    whole_program: bool = False
    utf8_only: bool = False
    env: Mapping[str, str] = field(default_factory=dict)


def severity(tool: str, rating: str) -> Severity:
    """Our severity for a tool's rating or rule: the longest prefix in the table counts."""
    table = SEVERITIES[tool]
    return table[max((known for known in table if rating.startswith(known)), key=len, default=next(iter(table)))]
