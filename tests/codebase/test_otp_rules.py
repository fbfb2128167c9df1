"""Every OTP rule finds what its bad example marks, and nothing in any good one."""

import re
from pathlib import Path

import pytest

from elexirion_dagster.codebase.analyzers.ast_grep import RULES
from elexirion_dagster.codebase.analyzers.catalog import analyze
from elexirion_dagster.codebase.files import list_files
from elexirion_dagster.redact import Redactor

OTP = Path(__file__).parents[1] / "data" / "otp"
NAMES = sorted(
    name for file in RULES.glob("otp/*.yml") for name in re.findall(r"(?m)^id: (.+)$", file.read_text(encoding="utf-8"))
)


@pytest.fixture(scope="module")
def found() -> dict[str, list[tuple[str, int]]]:
    """Rule and line of every finding, by file."""
    files = list_files(OTP, git=None).files
    analysis = analyze(files, root=OTP, tools=["ast-grep"], workers=1, timeout_s=60, redactor=Redactor())
    assert [(tool["status"], tool["files"]) for tool in analysis.tools] == [("ran", 2 * len(NAMES))]
    assert analysis.unparsed == []
    by_file: dict[str, list[tuple[str, int]]] = {file["path"]: [] for file in files}
    for finding in analysis.findings:
        by_file[finding.path].append((finding.rule, finding.line))
    return by_file


@pytest.mark.parametrize("rule", NAMES)
def test_a_rule_finds_every_marked_line_of_its_bad_example_and_no_other(found, rule):
    lines = (OTP / "bad" / f"{rule}.ex").read_text(encoding="utf-8").split("\n")
    marked = [at + 2 for at, line in enumerate(lines) if line.strip() == "# found"]
    assert marked
    assert [line for name, line in found[f"bad/{rule}.ex"] if name == rule] == marked


@pytest.mark.parametrize("rule", NAMES)
def test_no_rule_finds_anything_in_a_good_example(found, rule):
    assert found[f"good/{rule}.ex"] == []
