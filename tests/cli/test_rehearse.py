import json
import signal

import pytest

pytestmark = pytest.mark.slow

MARK = "[the model is a script] "
PIPELINE = """
name: asks
steps:
  - {name: a, type: llm, prompt: Hi.}
outputs: {text: "{{ steps.a.text }}"}
"""
REFUSED = "faults: [{kind: status, status: 401}]\n"
ANSWERED = 'answers: [{text: "One line.\\nAnother."}]\n'


@pytest.fixture
def files(tmp_path):
    """A pipeline and a script."""

    def write(script):
        (tmp_path / "asks.yaml").write_text(PIPELINE)
        (tmp_path / "script.yaml").write_text(script)
        return "asks.yaml", "--script", "script.yaml"

    return write


def test_every_line_says_that_the_model_is_a_script_and_the_last_how_the_run_ended(elexirion, files):
    done = elexirion("rehearse", *files(ANSWERED))
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(MARK) for line in [*lines, *done.stderr.splitlines()])
    assert f"{MARK}  Another." in lines
    assert lines[-2] == f"{MARK}the server saw 1 model call and played no fault"
    assert lines[-1].endswith("succeeded")


def test_a_failed_rehearsal_has_the_exit_code_of_a_failed_run_and_says_why(elexirion, files):
    done = elexirion("rehearse", *files(REFUSED))
    assert done.returncode == 1
    assert "status 401 x 1" in done.stdout
    assert all(line.startswith(MARK) for line in done.stderr.splitlines())
    assert "auth" in done.stderr


def test_the_json_of_a_rehearsal_says_that_it_is_one(elexirion, files):
    record = json.loads(elexirion("rehearse", *files(ANSWERED), "--json").stdout)
    assert (record["model"], record["calls"], record["faults"]) == ("script", 1, {})
    assert (record["status"], record["outputs"]) == ("succeeded", {"text": "One line.\nAnother."})


@pytest.mark.parametrize("words", [["rehearse", "asks.yaml"], ["rehearse", "asks.yaml", "--script", "none.yaml"]])
def test_a_rehearsal_without_a_script_is_refused(elexirion, files, words):
    files(ANSWERED)
    done = elexirion(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "script" in done.stderr or "none.yaml" in done.stderr


def test_a_server_plays_to_the_elexirion_that_its_variables_point_at_it_until_it_is_stopped(
    start_elexirion, elexirion, files
):
    files(ANSWERED)
    server = start_elexirion("rehearsal-server", "script.yaml")
    line = server.stdout.readline()
    exported = dict([line.removeprefix("export ").strip().split("=", 1)])
    while "ELEXIRION_LOCAL_URL" not in exported:
        name, _, value = server.stdout.readline().removeprefix("export ").strip().partition("=")
        exported[name] = value
    done = elexirion("run", "asks.yaml", "--model", "local", "--json", env=exported)
    assert json.loads(done.stdout)["outputs"] == {"text": "One line.\nAnother."}
    server.send_signal(signal.SIGINT)
    _, err = server.communicate(timeout=30)
    assert server.returncode == 0
    assert err.splitlines()[-1] == f"{MARK}the server saw 1 model call and played no fault"
