"""Ctrl-C and SIGTERM while a run works in a terminal."""

import json
import signal
import time

import dagster as dg
import psutil
import pytest

SLOW = """
name: slow
steps:
  - {name: counted, type: set, vars: {x: 1}}
  - name: sleeps
    type: for_each
    items: [311, 312]
    as: seconds
    steps:
      - {name: sleep, type: command, run: [sleep, "{{ seconds }}"]}
  - {name: after, type: set, needs: [sleeps], vars: {y: 1}}
"""


def sleepers(process):
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            found += [child] if child.cmdline()[:1] == ["sleep"] else []
        except psutil.Error:
            continue
    return found


@pytest.fixture
def slow_run(start_elexirion, tmp_path):
    """A run in a process of its own, two children of which sleep."""
    file = tmp_path / "slow.yaml"
    file.write_text(SLOW, encoding="utf-8")
    process = start_elexirion("run", file, "--json")
    deadline = time.monotonic() + 60
    while len(found := sleepers(process)) < 2:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process, found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl_c", "sigterm"])
def test_being_told_to_stop_ends_children_and_leaves_a_cancelled_run_and_a_whole_journal(slow_run, number, home_path):
    process, found = slow_run
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    record = json.loads(out)
    assert (record["status"], record["cause"]) == ("cancelled", "cancelled")
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in found)

    with dg.DagsterInstance.from_config(str(home_path / "dagster")) as instance:
        assert instance.get_run_by_id(record["run"]).status is dg.DagsterRunStatus.CANCELED
    files = sorted((home_path / "journal" / record["run"]).glob("*.jsonl"))
    texts = [file.read_text(encoding="utf-8") for file in files]
    assert all(text.endswith("\n") for text in texts)
    lines = [json.loads(line) for text in texts for line in text.splitlines()]
    assert [line["status"] for line in lines if line["kind"] == "run_finished"] == ["cancelled"]
    assert [line["path"] for line in lines if line["kind"] == "step"] == ["counted"]


def test_marking_a_run_of_a_terminal_as_cancelled_in_the_ui_ends_it_too(slow_run, home_path):
    process, found = slow_run
    (folder,) = (home_path / "journal").iterdir()
    with dg.DagsterInstance.from_config(str(home_path / "dagster")) as instance:
        instance.report_run_canceled(instance.get_run_by_id(folder.name))
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out)["status"] == "cancelled"
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in found)


def test_being_told_to_stop_before_the_run_begins_is_130(start_elexirion, tmp_path):
    file = tmp_path / "slow.yaml"
    file.write_text(SLOW, encoding="utf-8")
    process = start_elexirion("run", file)
    assert process.stderr.readline() == "slow asks no model.\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err


ASKS = """
name: asks
steps:
  - {name: a, type: llm, prompt: Hi.}
  - {name: sleep, type: command, run: [sleep, "313"]}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "moment"),
    [("rehearse", "dagster"), ("rehearse", "journal/*/*.jsonl"), ("rehearse", "asleep"), ("run", "journal/*/*.jsonl")],
)
def test_a_record_of_one_line_is_the_last_word_whenever_it_is_told_to_stop(
    start_elexirion, tmp_path, home_path, command, moment
):
    (tmp_path / "asks.yaml").write_text(ASKS, encoding="utf-8")
    (tmp_path / "script.yaml").write_text("answers: [{text: x}]\n", encoding="utf-8")
    words = ("--script", "script.yaml") if command == "rehearse" else ("--model", "fake")
    home = home_path / "rehearsal" if command == "rehearse" else home_path
    process = start_elexirion(command, "asks.yaml", *words, "--json")
    deadline = time.monotonic() + 120
    while not (sleepers(process) if moment == "asleep" else list(home.glob(moment))):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    (line,) = out.splitlines()
    record = json.loads(line)
    assert (record["status"], record["cause"]) == ("cancelled", "cancelled")
    assert "Traceback" not in err
