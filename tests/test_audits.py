"""The two shipped pipelines that look for one kind of problem: what they keep, what they ask a model about it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from elexirion_dagster.providers.fake import Rule

ROOT = Path(__file__).parents[1]
OTP = ROOT / "tests" / "data" / "otp"


@pytest.fixture
def outputs(start):
    """Run a shipped pipeline and give its outputs."""

    def run(name, repo, *rules, model="fake", **inputs):
        text = (ROOT / "pipelines_yaml" / f"{name}.yaml").read_text()
        rehearsed = start(text, rules=rules, tags={"elexirion/model": model}, repo=str(repo), **inputs)
        return rehearsed.run.outputs(rehearsed.all())

    return run


@pytest.fixture
def project(tmp_path):
    """An Elixir project: the bad examples as its modules, a test among its tests."""
    shutil.copytree(OTP / "bad", tmp_path / "project" / "lib")
    (tmp_path / "project" / "test").mkdir()
    (tmp_path / "project" / "test" / "pool_test.exs").write_text("spawn(fn -> :ok end)\n")
    return tmp_path / "project"


def test_the_audit_of_an_elixir_project_finds_every_kind_of_problem_without_a_model(outputs, project):
    done = outputs("otp_audit", project, model="none")
    assert {one["rule"] for one in done["findings"]} >= {file.stem for file in (OTP / "bad").iterdir()}
    assert (done["reviews"], done["unparsed"]) == ([], [])
    assert "no model" in done["review_note"]


def test_the_audit_leaves_tests_alone_unless_they_are_wanted(outputs, project):
    assert "test/pool_test.exs" not in {one["path"] for one in outputs("otp_audit", project)["findings"]}
    assert "test/pool_test.exs" in {one["path"] for one in outputs("otp_audit", project, tests=True)["findings"]}


@pytest.mark.parametrize("name", ["otp_audit", "security_review"])
def test_a_verdict_goes_to_the_finding_of_its_number_and_no_other(outputs, tmp_path, name):
    code = 'defmodule A do\n  def f(x), do: Jason.decode!(x, keys: :atoms)\n  def g(x), do: :"a_#{x}"\nend\n'
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a.ex").write_text(code)
    said = {"verdict": "confirmed", "explanation": "x comes from a request.", "fix": ""}
    verdicts = [{**said, "finding": number} for number in (0, 2, 3)]
    done = outputs(name, tmp_path / "tree", Rule(data={"verdicts": verdicts}))
    assert [one["rule"] for one in done["findings"]] == ["otp-atoms-from-input", "otp-dynamic-atom"]
    assert [(one["line"], one["rule"]) for one in done["reviews"]] == [(3, "otp-dynamic-atom")]


@pytest.fixture
def mixed(git_repository):
    """Committed: a weakness, an assert of a test, a bug that is no weakness. Not committed: another weakness."""
    (git_repository / "test_run.py").write_text("def test_run():\n    assert run\n")
    (git_repository / "nan.js").write_text("if (x === NaN) { f(); }\n")
    subprocess.run(["git", "add", "test_run.py", "nan.js"], cwd=git_repository, check=True)
    git = ["git", "-c", "user.name=T", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "commit", "-qm", "more"], cwd=git_repository, check=True)
    return git_repository


def test_the_security_review_keeps_to_security(outputs, mixed):
    found = {(one["path"], one["rule"]) for one in outputs("security_review", mixed, model="none")["findings"]}
    assert found == {("src/shell.py", "B404"), ("src/shell.py", "B602")}


def test_the_security_review_of_what_changed_looks_at_nothing_else(outputs, mixed):
    done = outputs("security_review", mixed, model="none", files="changed")
    assert [(one["path"], one["rule"]) for one in done["findings"]] == [("untracked.py", "B307")]
    assert done["files"] == 1


def test_the_security_review_shows_the_model_what_changed(start, mixed):
    (mixed / "src" / "shell.py").write_text("import subprocess\n\nsubprocess.call(input(), shell=True)\n")
    text = (ROOT / "pipelines_yaml" / "security_review.yaml").read_text()
    rehearsed = start(text, repo=str(mixed), files="changed")
    rehearsed.all()
    told = [request.messages[-1].content[0].text for request in rehearsed.fake.requests]
    assert any("~| +subprocess.call(input(), shell=True)\n" in one for one in told)
