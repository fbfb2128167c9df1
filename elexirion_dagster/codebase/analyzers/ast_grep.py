"""ast-grep: bugs and security problems beyond Python, by the rules shipped in `rules/`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from elexirion_dagster.codebase.analyzers.base import Analyzer, Parsed, RawFinding, severity

RULES = Path(__file__).parent / "rules"
"""One YAML file per language; `sgconfig.yml` names the folder, so that a repository's own is never read."""


def _command(executable: str, paths: Sequence[str], _scratch: Path) -> list[str]:
    ignored = [
        option for kind in ("hidden", "dot", "exclude", "global", "parent", "vcs") for option in _no_ignore(kind)
    ]
    config = ["--config", str(RULES / "sgconfig.yml"), "--custom-languages", "ignore"]
    return [executable, "scan", *config, "--json=stream", "--include-metadata", *ignored, "--", *paths]


def _no_ignore(kind: str) -> tuple[str, str]:
    return ("--no-ignore", kind)


def _parse(stdout: str, _stderr: str) -> Parsed:
    return Parsed(tuple(_finding(json.loads(line)) for line in stdout.split("\n") if line))


def _finding(item: dict[str, Any]) -> RawFinding:
    start, end = item["range"]["start"], item["range"]["end"]
    metadata = item["metadata"]
    return RawFinding(
        rule=item["ruleId"],
        severity=severity("ast-grep", item["severity"]),
        confidence=metadata["confidence"],
        path=item["file"],
        line=start["line"] + 1,
        column=start["column"] + 1,
        end_line=end["line"] + 1,
        end_column=end["column"],
        message=item["message"],
        url=metadata["url"],
    )


AST_GREP = Analyzer(
    name="ast-grep",
    languages=frozenset({"javascript", "typescript", "go", "rust", "elixir", "java"}),
    command=_command,
    parse=_parse,
    good_exits=frozenset({0, 1}),
    utf8_only=True,
)
