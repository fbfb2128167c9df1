import pytest

from elexirion_dagster.codebase import analysis

SCAN = """
inputs: {repo: {type: path}}
steps:
  - {name: files, type: files, list: {root: "{{ inputs.repo }}"}}
  - {name: analyze, type: analyze, tools: %s, paths: "{{ steps.files.data.files }}"}
"""


def test_findings_come_in_one_shape_and_are_journaled(start, git_repository):
    rehearsed = start(SCAN % "[ruff, bandit]", repo=str(git_repository))
    result = rehearsed.all()["analyze"]
    assert result.status == "succeeded"
    found = {(finding["tool"], finding["path"], finding["line"]) for finding in result.data["findings"]}
    assert ("bandit", "src/shell.py", 5) in found
    assert {entry["path"] for entry in result.data["unparsed"]} == {"broken.py"}
    assert sum(result.data["by_severity"].values()) == len(result.data["findings"])
    (line,) = rehearsed.lines("findings")
    assert line["findings"] == result.data["findings"]
    assert line["tools"] == ["ruff", "bandit"]
    assert all(finding["fingerprint"] for finding in line["findings"])
    assert any(line["path"] == "analyze" for line in rehearsed.lines("progress"))


def test_no_files_is_no_failure(one, tmp_path):
    (tmp_path / "empty").mkdir()
    result = one(SCAN % "[bandit]", repo=str(tmp_path / "empty"))
    assert (result.status, result.data["findings"], result.data["tools"][0]["status"]) == ("succeeded", [], "no files")


def test_a_missing_tool_is_reported_and_the_others_go_on(one, git_repository, monkeypatch):
    real = analysis.find
    monkeypatch.setattr(analysis, "find", lambda name: None if name == "bandit" else real(name))
    result = one(SCAN % "[ruff, bandit]", repo=str(git_repository))
    tools = {tool["name"]: tool["status"] for tool in result.data["tools"]}
    assert (result.status, tools) == ("succeeded", {"ruff": "ran", "bandit": "missing"})


def test_when_no_tool_can_run_the_step_fails(one, git_repository, monkeypatch):
    monkeypatch.setattr(analysis, "find", lambda _: None)
    result = one(SCAN % "[bandit]", repo=str(git_repository))
    assert (result.error.cause, "bandit" in result.error.message) == ("command_failed", True)


@pytest.mark.parametrize(
    ("paths", "why"),
    [
        ("[a.py]", "must be file records"),
        ("{}", "must be file records"),
        ("[{root: /a, path: x}, {root: /b, path: y}]", "2 folders"),
    ],
)
def test_other_things_than_the_files_of_one_folder_are_refused(one, paths, why):
    result = one(f"steps: [{{name: a, type: analyze, paths: {paths}}}]")
    assert (result.error.cause, why in result.error.message) == ("bad_input", True)


def test_a_folder_that_was_not_granted_is_refused(one):
    paths = "[{root: /etc, path: hostname, language: python, blob: x, size: 1}]"
    assert one(f"steps: [{{name: a, type: analyze, paths: {paths}}}]").error.cause == "tool_denied"
