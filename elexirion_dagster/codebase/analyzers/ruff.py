"""ruff: bugs in Python. Security rules (S) are left to bandit, whose ratings and `nosec` are the authority."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from elexirion_dagster.codebase.analyzers.base import Analyzer, Parsed, RawFinding, severity

_SELECT = "F,E9,B,PLE,ASYNC,RUF006"
"""pyflakes, runtime errors, bugbear, pylint's errors, blocking calls in async code, lost tasks."""
_IGNORE = "ASYNC109,B905,F403,F405,F541"
"""An interface taste, a default that is nearly always meant, star imports (F821 says what they break), an idle f."""
_NEWEST = "py314"
_UNREADABLE = frozenset({None, "invalid-syntax", "E902", "E999", "io-error"})


def _command(executable: str, paths: Sequence[str], _scratch: Path) -> list[str]:
    options = ["check", "--isolated", "--no-cache", "--quiet", "--output-format", "json", "--target-version", _NEWEST]
    return [executable, *options, "--select", _SELECT, "--ignore", _IGNORE, "--", *paths]


def _parse(stdout: str, _stderr: str) -> Parsed:
    found = json.loads(stdout)
    broken = {item["filename"]: item["message"] for item in reversed(found) if item["code"] in _UNREADABLE}
    good = tuple(_finding(item) for item in found if item["filename"] not in broken)
    return Parsed(good, tuple(broken.items()))


def _finding(item: dict[str, Any]) -> RawFinding:
    start, end = item["location"], item["end_location"]
    return RawFinding(
        rule=item["code"],
        severity=severity("ruff", item["code"]),
        confidence="high",
        path=item["filename"],
        line=start["row"],
        column=start["column"],
        end_line=end["row"],
        end_column=end["column"] - 1,
        message=item["message"],
        url=item["url"],
        fix=_fix(item["fix"]),
    )


def _fix(fix: dict[str, Any] | None) -> tuple[dict[str, Any], ...] | None:
    """The change that ruff calls safe, where there is one."""
    if fix is None or fix["applicability"] != "safe":
        return None
    return tuple(_edit(edit["location"], edit["end_location"], edit["content"]) for edit in fix["edits"])


def _edit(start: dict[str, int], end: dict[str, int], text: str) -> dict[str, Any]:
    span = {"line": start["row"], "column": start["column"], "end_line": end["row"], "end_column": end["column"] - 1}
    return {**span, "text": text}


RUFF = Analyzer(
    name="ruff",
    languages=frozenset({"python"}),
    command=_command,
    parse=_parse,
    good_exits=frozenset({0, 1}),
    env={"RUFF_NO_CACHE": "true"},
)
