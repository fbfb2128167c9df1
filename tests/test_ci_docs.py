"""What docs/ci.md shows can be used as it stands."""

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from elexirion_dagster.cli.scan import scan

PAGE = (Path(__file__).parents[1] / "docs" / "ci.md").read_text(encoding="utf-8")
BLOCKS = [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)]
COMMANDS = re.findall(r"elexirion (scan [^`>\n]+)", PAGE)


def test_the_workflow_has_what_a_runner_asks_for():
    workflow = BLOCKS[0]
    assert workflow.keys() == {"name", True, "permissions", "jobs"}  # YAML 1.1 reads `on` as true
    steps = workflow["jobs"]["scan"]["steps"]
    assert all(("uses" in step) != ("run" in step) for step in steps)
    assert steps[0]["with"]["fetch-depth"] == 0


def test_the_hook_is_one_that_pre_commit_takes(tmp_path):
    clientlib = pytest.importorskip("pre_commit.clientlib")
    file = tmp_path / ".pre-commit-config.yaml"
    file.write_text(yaml.safe_dump(BLOCKS[1]))
    assert clientlib.load_config(file)["repos"][0]["hooks"][0]["pass_filenames"] is False


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_options_that_there_are(command):
    words = [word for word in shlex.split(command)[1:] if word != "."]
    context = click.Context(scan)
    parsed, rest, _ = scan.make_parser(context).parse_args(words)
    assert rest == []
    assert parsed["fail_on"] == "new-high"
