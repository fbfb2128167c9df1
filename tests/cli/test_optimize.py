import json
import os
import signal
import subprocess
import sys

import psutil
import pytest
from learnable import ADDRESS, SETTINGS, label

from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.registry.prompts import pointer


@pytest.fixture
def local(learnable):
    """The environment that reaches the played model."""
    assert learnable.file.is_file()
    return {"ELEXIRION_LOCAL_URL": os.environ["ELEXIRION_LOCAL_URL"]}


def test_it_tells_of_every_candidate_of_the_gate_and_of_what_is_in_use_then(elexirion, local, home_path):
    done = elexirion("optimize", ADDRESS, env=local)
    assert done.returncode == 0, done.stderr
    assert "60 rows to learn from, 50 to choose by, 70 held out" in done.stderr
    assert "100.0%  a given text" in done.stderr
    assert "proving it on 70 rows" in done.stderr
    assert "FAILED" not in done.stdout
    assert "quality" in done.stdout
    assert "promoted: every run that begins now uses it" in done.stdout
    version = pointer(open_home(home_path), "sorting", "sort").hash
    assert f"version {version}" in done.stdout


def test_as_json_it_prints_events_and_nothing_else(elexirion, local):
    done = elexirion("optimize", ADDRESS, "--json", env=local)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == [
        "began",
        "iteration",
        "iteration",
        "proving",
        "ended",
    ]
    assert done.stderr == ""


def test_ctrl_c_ends_it_with_what_it_started_and_nothing_is_paid_twice(start_elexirion, elexirion, local):
    process = start_elexirion("optimize", ADDRESS, "--json", env=local)
    for line in process.stdout:
        if json.loads(line)["event"] == "iteration":
            break
    (child,) = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (130, "cancelled")
    assert not child.is_running()
    assert elexirion("optimize", ADDRESS, env=local).returncode == 0
    ended = json.loads(elexirion("prompts", "list", "--json", env=local).stdout)
    assert ended


@pytest.mark.parametrize(
    "bad",
    [
        (f"{SETTINGS}}}", [label(0)], 2, "expected at least 30 usable rows, came 1"),
        (f"{SETTINGS}}}", [label(0), "{"], 2, "sorted.jsonl:2"),
        (f"{SETTINGS.replace('iterations: 2', 'calls: 0')}}}", None, 2, "greater than or equal to 1"),
        (f"{SETTINGS.replace('iterations: 2', 'calls: 9')}}}", None, 3, "9 model calls"),
    ],
)
def test_bad_input_ends_with_one_message_and_the_exit_code_of_its_kind(bad, elexirion, learnable, local):
    optimize, labels, code, said = bad
    learnable.write(optimize=optimize, labels=labels)
    done = elexirion("optimize", ADDRESS, env=local)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_dspy_examples_are_tried_and_instructions_refused_with_what_to_install(learnable, environ, local):
    code = "import sys; sys.modules['dspy'] = None\n"
    code += "from optimizer_assets.__main__ import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "optimize", ADDRESS]

    def run():
        return subprocess.run(
            command, env={**environ, **local}, cwd=learnable.folder, capture_output=True, text=True, check=False
        )

    assert run().returncode == 0
    learnable.write(optimize="{metric: {exact: kind}, optimizer: gepa}")
    done = run()
    last = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 1
    assert "elexirion[optimizer]" in last["mend"]
