"""vulture: code in Python that can never run, and parameters nobody reads.

At 80 % confidence vulture reports what holds for a file alone, so a subset of a code base gives no false alarms;
below that it guesses which functions nobody calls (on 3,700 files of well-kept libraries: 8,233 guesses against 451
certainties). Unused imports are ruff's. It runs as one process, because names seen anywhere silence a report.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from elexirion_dagster.codebase.analyzers.base import Analyzer, Parsed, RawFinding, severity

_MIN_CONFIDENCE = 80
_REPORT = re.compile(r"(?s)(.+?):(\d+): ((?:(?!:\d+: )[^\n])+?) \((\d+)% confidence\)\n")
_SYNTAX = re.compile(r"(?s)(.+?):(?:\d+:|None:)? ([^\n]+)\n")
_ENCODING = re.compile(r"(?s)Error: Could not read file (.+?) - \n?Try to change the encoding to UTF-8.\n")


def _command(executable: str, paths: Sequence[str], scratch: Path) -> list[str]:
    """Put the paths into a configuration file: an argument list has an end, and the repository's own is not read."""
    quoted = [json.dumps(path, ensure_ascii=False).replace("\x7f", "\\u007f") for path in paths]
    config = scratch / "vulture.toml"
    config.write_text(f"[tool.vulture]\nmin_confidence = {_MIN_CONFIDENCE}\npaths = [{', '.join(quoted)}]\n", "utf-8")
    return [executable, "--config", str(config)]


def _parse(stdout: str, stderr: str) -> Parsed:
    if "Traceback (most recent call last)" in stderr:  # it leaves with the code of a syntax error
        raise ValueError("it crashed")
    reports = list(_REPORT.finditer(stdout))
    if sum(len(report.group()) for report in reports) != len(stdout):
        raise ValueError(f"its report reads differently than expected: {stdout[:200]!r}")
    unparsed = [(match[1], match[2]) for match in _SYNTAX.finditer(_ENCODING.sub("", stderr))]
    unparsed += [(match[1], "not UTF-8") for match in _ENCODING.finditer(stderr)]
    findings = (_finding(report) for report in reports)
    return Parsed(tuple(found for found in findings if found.rule != "unused-import"), tuple(unparsed))


def _finding(report: re.Match[str]) -> RawFinding:
    path, line, message, _confidence = report.groups()
    kind = message.split(" '")[0].removesuffix(" after")
    return RawFinding(
        rule=kind.replace(" ", "-"),
        severity=severity("vulture", kind),
        confidence="high",
        path=path,
        line=int(line),
        end_line=int(line),
        message=message,
        url="https://github.com/jendrikseipp/vulture#types-of-unused-code",
    )


VULTURE = Analyzer(
    name="vulture",
    languages=frozenset({"python"}),
    command=_command,
    parse=_parse,
    good_exits=frozenset({0, 1, 3}),
    whole_program=True,
)
