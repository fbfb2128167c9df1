"""bandit: security problems in Python, with its own severities, confidences and `# nosec`."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from elexirion_dagster.codebase.analyzers.base import MASK, Analyzer, Parsed, RawFinding, severity
from elexirion_dagster.records import Confidence

_CONFIDENCE: dict[str, Confidence] = {"HIGH": "high", "MEDIUM": "medium", "LOW": "low", "UNDEFINED": "low"}
_PASSWORD_RULES = frozenset({"B105", "B106", "B107"})
_QUOTED = re.compile(r"'(.*)'", re.DOTALL)


def _command(executable: str, paths: Sequence[str], _scratch: Path) -> list[str]:
    # An empty exclusion list: what to scan was decided when the files were listed.
    return [executable, "--quiet", "--format", "json", "--exclude", "", "--", *paths]


def _parse(stdout: str, _stderr: str) -> Parsed:
    said = json.loads(stdout)
    unparsed = tuple((error["filename"], error["reason"]) for error in said["errors"])
    return Parsed(tuple(_finding(item) for item in said["results"]), unparsed)


def _finding(item: dict[str, Any]) -> RawFinding:
    rule, message, line = item["test_id"], item["issue_text"], item["line_number"]
    secret = _QUOTED.search(message) if rule in _PASSWORD_RULES else None
    return RawFinding(
        rule=rule,
        severity=severity("bandit", item["issue_severity"]),
        confidence=_CONFIDENCE[item["issue_confidence"]],
        path=item["filename"],
        line=line,
        column=item["col_offset"] + 1,
        end_line=max([line, *item["line_range"]]),
        end_column=item["end_col_offset"],
        message=_QUOTED.sub(f"'{MASK}'", message) if secret else message,
        url=item["more_info"],
        byte_columns=True,
        secret=secret and secret[1],
    )


BANDIT = Analyzer(
    name="bandit",
    languages=frozenset({"python"}),
    command=_command,
    parse=_parse,
    good_exits=frozenset({0, 1}),
    chunk_files=500,
)
