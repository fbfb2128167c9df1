import pytest

from elexirion_dagster.codebase import analysis
from elexirion_dagster.errors import PipelineError

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


CLAIMS = """
inputs: {repo: {type: path}}
steps:
  - {name: files, type: files, list: {root: "{{ inputs.repo }}"}}
  - {name: settled, type: analyze, paths: "{{ steps.files.data.files }}", claims: %s}
"""


def test_a_models_claims_become_findings_and_are_journaled_as_such(start, git_repository):
    claim = "{quote: 'def double(number):', line: 1, rule: bug, severity: low, message: It doubles.}"
    rehearsed = start(
        CLAIMS % f"[{{path: src/clean.py, claims: [{claim}, {{quote: none}}]}}]", repo=str(git_repository)
    )
    result = rehearsed.all()["settled"]
    assert [(one["tool"], one["path"], one["line"]) for one in result.data["findings"]] == [
        ("review", "src/clean.py", 1)
    ]
    assert (len(result.data["rejected"]), result.metadata["rejected"], result.data["by_severity"]["low"]) == (1, 1, 1)
    (line,) = rehearsed.lines("findings")
    assert (line["tools"], line["findings"]) == (["review"], result.data["findings"])
    assert [one["path"] for one in line["unparsed"]] == ["broken.py", "src/shell.py"]


@pytest.mark.parametrize(
    "claims", ["nothing", "[x]", "[{path: a.py}]", "[], known: 7", "[], known: [{path: a.py, line: 1}]"]
)
def test_claims_and_findings_of_another_shape_are_refused(one, git_repository, claims):
    result = one(CLAIMS % claims, repo=str(git_repository))
    assert (result.error.cause, "must be a list of maps with" in result.error.message) == ("bad_input", True)


@pytest.mark.parametrize(
    ("more", "why"), [("claims: [], tools: [ruff]", "either"), ("known: []", "beside `claims` only")]
)
def test_a_step_runs_tools_or_settles_claims(one, more, why):
    with pytest.raises(PipelineError, match=why):
        one(f"steps: [{{name: a, type: analyze, paths: [], {more}}}]")
