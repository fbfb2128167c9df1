"""A project of Dagster's own `dg` that keeps our pipelines in its `defs` folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

DEFINITIONS = """
from pathlib import Path

import dagster as dg


@dg.definitions
def defs():
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""
PROJECT = """
[project]
name = "sample"
version = "0.1"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "sample"
"""
IN_PLACE = """
type: elexirion_dagster.component.PipelineComponent
attributes:
  pipeline:
    name: in_place
    inputs: {goal: {type: string, default: bugs}}
    steps:
      - {name: ask, type: set, vars: {said: "find {{ inputs.goal }} in {{ run.pipeline }}"}}
    outputs: {said: "{{ vars.said }}"}
"""
BESIDE = """
type: elexirion_dagster.component.PipelineComponent
attributes:
  pipeline: review.yaml
"""
REVIEW = """
name: review
steps:
  - {name: ask, type: llm, prompt: "Find what {{ run.started_at }} brought"}
schedule: {cron: "0 2 * * *"}
"""


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    for path, text in {
        "pyproject.toml": PROJECT,
        "sample/__init__.py": "",
        "sample/definitions.py": DEFINITIONS,
        "sample/defs/__init__.py": "",
        "sample/defs/in_place/defs.yaml": IN_PLACE,
        "sample/defs/beside/defs.yaml": BESIDE,
        "sample/defs/beside/review.yaml": REVIEW,
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def in_project(project, *words):
    program = Path(sys.executable).with_name(words[0])
    home = project.parent / "home"
    (home / "dagster").mkdir(parents=True, exist_ok=True)
    environ = {
        **os.environ,
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "DAGSTER_HOME": str(home / "dagster"),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "ELEXIRION_HOME": str(home),
        "PYTHONPATH": str(project),
    }
    ended = subprocess.run([program, *words[1:]], cwd=project, env=environ, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def test_dg_takes_a_pipeline_in_place_and_one_beside_it(project):
    assert in_project(project, "dg", "check", "yaml")[0] == 0
    assert in_project(project, "dg", "check", "defs")[0] == 0
    code, listed = in_project(project, "dg", "list", "defs", "--json")
    assert code == 0
    for name in ("in_place", "review", "review_schedule"):
        assert f'"{name}"' in listed


def test_a_job_of_the_project_runs_and_its_templates_are_the_run_s(project):
    code, told = in_project(project, "dagster", "job", "execute", "-m", "sample.definitions", "-j", "in_place")
    assert code == 0, told
    journal = [file.read_text() for file in (project.parent / "home" / "journal").glob("*/*.jsonl")]
    assert "find bugs in in_place" in "".join(journal)


def test_a_faulty_pipeline_fails_the_check_with_file_line_and_mend(project):
    file = project / "sample/defs/beside/review.yaml"
    file.write_text(REVIEW.replace("prompt", "promt"))
    code, told = in_project(project, "dg", "check", "defs")
    assert code != 0
    assert "review.yaml:4" in told
    assert "Did you mean 'prompt'?" in told


def test_a_missing_file_and_a_wrong_attribute_are_told(project):
    (project / "sample/defs/beside/review.yaml").unlink()
    code, told = in_project(project, "dg", "check", "defs")
    assert (code != 0, "review.yaml does not exist" in told) == (True, True)
    (project / "sample/defs/beside/defs.yaml").write_text(BESIDE.replace("pipeline:", "pipelin:"))
    code, told = in_project(project, "dg", "check", "yaml")
    assert (code != 0, "pipelin" in told) == (True, True)
