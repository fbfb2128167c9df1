import json
import sys
import time

import psutil
import pytest

SHOW = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]))"


def run_text(**keys):
    step = {"name": "c", "type": "command", **keys}
    return (
        "inputs: {a: {type: string, default: x}, repo: {type: path, default: null}}\nenv: [GIVEN]\nsteps: "
        + json.dumps([step])
    )


def shown(result):
    return json.loads(result.text)


@pytest.mark.parametrize("hostile", ["a b; rm -rf /", "$(id)", "'\"`", "--flag", "", "a\nb", "*", "{{ 1 }}"])
def test_data_never_splits_into_arguments_and_no_shell_sees_it(one, hostile):
    text = run_text(run=f"{sys.executable} -c '{SHOW}' --value={{{{ inputs.a }}}} {{{{ inputs.a }}}}")
    assert shown(one(text, a=hostile))[0] == [f"--value={hostile}", hostile]


def test_a_list_is_taken_as_it_is(one):
    text = run_text(run=[sys.executable, "-c", SHOW, "two words", "{{ inputs.a }}"])
    assert shown(one(text))[0] == ["two words", "x"]


def test_nothing_of_our_environment_is_inherited_but_what_is_given(one, monkeypatch):
    monkeypatch.setenv("SERVICE_TOKEN", "from the parent")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "from the parent")
    text = run_text(run=[sys.executable, "-c", SHOW], env={"MINE": "{{ env.GIVEN }}"})
    environment = shown(one(text, settings={"environ": {"GIVEN": "given"}}))[1]
    assert environment["MINE"] == "given"
    assert not {"SERVICE_TOKEN", "ANTHROPIC_API_KEY"} & environment.keys()


def test_it_runs_in_the_workspace_or_a_folder_of_it(start):
    rehearsed = start(run_text(run=[sys.executable, "-c", SHOW]))
    assert shown(rehearsed.all()["c"])[2] == str(rehearsed.home.workspace(rehearsed.run.info.root_run))
    workspace = rehearsed.home.workspace(rehearsed.run.info.root_run)
    (workspace / "sub").mkdir()
    inside = start(run_text(run=[sys.executable, "-c", SHOW], cwd="sub"), root=rehearsed.run.info.root_run)
    assert shown(inside.all()["c"])[2] == str(workspace / "sub")


@pytest.mark.parametrize("cwd", ["/", "..", "{{ inputs.repo }}"])
def test_it_runs_nowhere_else(one, tmp_path, cwd):
    folder = tmp_path / "repo"
    folder.mkdir()
    assert one(run_text(run=["true"], cwd=cwd), repo=str(folder)).error.cause == "tool_denied"


def test_an_unexpected_exit_code_fails_and_keeps_what_was_printed(one):
    code = "import sys; print('out'); print('why', file=sys.stderr); sys.exit(3)"
    result = one(run_text(run=[sys.executable, "-c", code]))
    assert (result.status, result.error.cause) == ("failed", "command_failed")
    assert result.error.message.endswith("ended with exit code 3, expected 0: why")
    assert (result.text, result.data["exit_code"], result.data["stderr"]) == ("out\n", 3, "why\n")
    expected = one(run_text(run=[sys.executable, "-c", code], expect_exit=[0, 3]))
    assert expected.status == "succeeded"


def test_a_program_that_is_not_there_says_so(one):
    result = one(run_text(run=["no-such-program-here"]))
    assert (result.error.cause, "no-such-program-here" in result.error.message) == ("command_failed", True)
    assert one(run_text(run=["{{ inputs.a[:0] }}"])).error.cause == "tool_denied"


def test_the_deadline_kills_the_program_and_its_children(one):
    mark = f"60.{time.time_ns()}"
    started = one(run_text(run=["sh", "-c", f"sleep {mark} & sleep {mark}"], timeout_s=3))
    assert started.error.cause == "timeout"
    assert not [one.pid for one in psutil.process_iter(["cmdline"]) if mark in (one.info["cmdline"] or ())]


def test_secrets_in_arguments_and_output_are_not_kept(start):
    secret = "glpat-" + "Ab1" * 8
    rehearsed = start(run_text(run=["echo", "{{ inputs.a }}"]), a=secret)
    result = rehearsed.all()["c"]
    assert secret not in str(result)
    assert secret not in str(rehearsed.lines())
    assert result.text == "[redacted:gitlab_token]\n"
