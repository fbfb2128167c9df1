"""What the documentation shows works as it stands."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from elexirion_dagster.cli.main import COMMANDS, cli
from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.errors import PipelineError
from elexirion_dagster.operations.launch import execute
from elexirion_dagster.operations.pipelines import check
from elexirion_dagster.settings import Settings
from elexirion_dagster.tags import MODEL_TAG

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "pipelines_yaml/README.md")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(language: str) -> list[tuple[str, str]]:
    """(page, text) of every fenced block in a language."""
    return [
        (page, text)
        for page in PAGES
        for found, text in FENCE.findall((ROOT / page).read_text(encoding="utf-8"))
        if found == language
    ]


def commands() -> list[str]:
    lines = (line.partition("#")[0].strip() for _, text in blocks("sh") for line in text.splitlines())
    return [line for line in lines if line.startswith("elexirion ")]


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / "app.py").write_text("import pickle\n\n\ndef load(data):\n    return pickle.loads(data)\n")
    for args in (["init", "-q"], ["add", "."], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "first"]):
        subprocess.run(["git", *args], cwd=folder, check=True)
    (folder / "app.py").write_text("import pickle\n\n\ndef load(data):\n    return pickle.loads(data)  # changed\n")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("text", [pytest.param(text, id=load_string(text).pipeline.name) for _, text in blocks("yaml")])
def test_every_documented_pipeline_runs_on_the_fake_model(text: str, tmp_path: Path, repo: Path) -> None:
    pipeline = load_string(text).pipeline
    file = tmp_path / f"{pipeline.name}.yaml"
    file.write_text(text)
    for reference in pipeline.examples.values():
        (tmp_path / reference).write_text("".join(rows for _, rows in blocks("jsonl")))
    settings = Settings.from_env(
        {"ELEXIRION_HOME": str(tmp_path / "home"), **dict.fromkeys(pipeline.env, "some value")}
    )
    assert [found for _, found in check([str(file)], settings) if isinstance(found, PipelineError)] == []
    inputs = {"repo": str(repo)} if "repo" in pipeline.inputs else {}
    finished = execute(
        file, inputs, run_id="11111111-1111-1111-1111-111111111111", tags={MODEL_TAG: "fake/echo"}, settings=settings
    )
    assert finished.status == "succeeded", finished.message
    assert set(finished.outputs) == set(pipeline.outputs)
    assert all(value not in (None, "") for value in finished.outputs.values())


@pytest.mark.slow
@pytest.mark.parametrize("command", commands())
def test_every_documented_command_runs(command: str, tmp_path: Path, repo: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "ELEXIRION_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-m", "elexirion_dagster.cli.main", *shlex.split(command)[1:]],
        cwd=repo,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_documented_commands_are_more_than_a_few() -> None:
    assert len(commands()) >= 8
    assert len(blocks("yaml")) >= 9


def test_the_reference_names_every_root_key_and_step_type() -> None:
    schema = json.loads(json.dumps(__import__("elexirion_dagster.spec.schema", fromlist=["x"]).editor_schema()))
    page = (ROOT / "pipelines_yaml" / "README.md").read_text(encoding="utf-8")
    missing = [key for key in schema["properties"] if f"`{key}`" not in page]
    assert missing == []


def test_every_command_loads_and_explains_itself() -> None:
    context = click.Context(cli)
    assert [name for name in COMMANDS if cli.get_command(context, name).name != name] == []
    assert [name for name in COMMANDS if not cli.get_command(context, name).help] == []


SHOWN_BY = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
SECURITY = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("file", "name"), sorted(set(SHOWN_BY.findall(SECURITY))))
def test_every_test_that_the_page_on_security_names_exists(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_threat_has_a_test() -> None:
    rows = [line for line in SECURITY.splitlines() if line.startswith("| ") and not line.startswith("| threat ")]
    assert len(rows) >= 20
    assert [row for row in rows if row.count(" | ") != 2 or not SHOWN_BY.search(row.rsplit(" | ", 1)[1])] == []
