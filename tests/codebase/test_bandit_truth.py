"""Our bandit findings are bandit's own: compared on the examples that bandit ships (Apache-2.0, see LICENSE there)."""

import json
import os
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from elexirion_dagster.codebase.analysis import Analysis
from elexirion_dagster.codebase.analyzers.catalog import analyze
from elexirion_dagster.codebase.executables import find
from elexirion_dagster.codebase.files import FileList, list_files
from elexirion_dagster.redact import Redactor

pytestmark = pytest.mark.slow

VENDORED = Path(__file__).parents[1] / "data" / "bandit_examples" / "examples"
EXAMPLES = Path(os.environ.get("ELEXIRION_BANDIT_EXAMPLES", VENDORED))


@pytest.fixture(scope="module")
def listed() -> FileList:
    return list_files(EXAMPLES, git=None)


@pytest.fixture(scope="module")
def ours(listed: FileList) -> Analysis:
    return analyze(listed.files, root=EXAMPLES, workers=2, timeout_s=300, redactor=Redactor())


@pytest.fixture(scope="module")
def theirs() -> dict[str, Any]:
    bandit = find("bandit")
    assert bandit
    command = [bandit, "--quiet", "--recursive", "--format", "json", "."]
    done = subprocess.run(command, cwd=EXAMPLES, capture_output=True, text=True, check=False)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_our_findings_are_bandits_own(ours: Analysis, theirs: dict[str, Any]):
    mine = Counter((found.rule, found.path, found.line) for found in ours.findings if found.tool == "bandit")
    bare = Counter(
        (hit["test_id"], hit["filename"].removeprefix("./"), hit["line_number"]) for hit in theirs["results"]
    )

    assert len(bare) > 300
    assert mine == bare


def test_every_file_that_bandit_cannot_parse_is_named(ours: Analysis, theirs: dict[str, Any], listed: FileList):
    named = {file["path"] for file in ours.unparsed if file["tool"] == "bandit"}
    left_out = {file["path"] for file in listed.skipped}

    assert {error["filename"].removeprefix("./") for error in theirs["errors"]} == named | left_out
    assert named


def test_no_password_that_bandit_found_survives_in_messages_or_snippets(ours: Analysis, theirs: dict[str, Any]):
    known = {
        (hit["filename"].removeprefix("./"), match[1])
        for hit in theirs["results"]
        if hit["test_id"] in {"B105", "B106", "B107"} and (match := re.search("'(.+)'", hit["issue_text"]))
    }
    assert len(known) > 10

    for path, password in known:
        quoted = re.compile(rf"([\"']){re.escape(password)}\1")
        for found in (one for one in ours.findings if one.path == path):
            assert not quoted.search(found.message)
            assert not quoted.search(found.snippet)


def test_passwords_are_masked_in_the_place_where_they_stood(ours: Analysis):
    masked = [found for found in ours.findings if found.rule in {"B105", "B106", "B107"}]

    assert masked
    assert all("[redacted:password]" in found.message for found in masked)
    assert all("[redacted:password]" in found.snippet for found in masked)
