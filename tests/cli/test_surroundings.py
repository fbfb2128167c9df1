"""What a command must bear: a hostile repository, a failing model, outputs and queries without end, Ctrl-C."""

import json
import os
import signal
import time

from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer


def test_a_scanned_repository_does_not_get_to_say_what_a_scan_does(elexirion, git_repository):
    own = git_repository / "pipelines_yaml"
    own.mkdir()
    steps = "steps: [{name: a, type: command, run: [touch, %s]}]" % (git_repository / "taken_over")
    (own / "nightly_scan.yaml").write_text(f"name: nightly_scan\ninputs: {{repo: {{type: path}}}}\n{steps}\n")
    done = elexirion("scan", ".", "--no-model", "--json", cwd=git_repository)
    assert done.returncode == 0, done.stderr
    assert [finding["rule"] for finding in json.loads(done.stdout)["outputs"]["findings"]] != []
    assert not (git_repository / "taken_over").exists()


def test_a_model_that_refuses_the_key_costs_the_review_not_the_report(elexirion, git_repository):
    script = Script.model_validate({"faults": [{"kind": "status", "status": 401, "every": 1}]})
    with RehearsalServer(script) as server:
        keys = {"ANTHROPIC_API_KEY": "sk-ant-wrong", "ANTHROPIC_BASE_URL": server.base_url}
        done = elexirion("scan", git_repository, env=keys)
    assert done.returncode == 0, done.stderr
    assert "the review failed (auth)" in done.stdout
    assert "B602" in done.stdout
    assert "report.sarif" in done.stdout


def test_an_output_of_any_length_is_shown_cut_and_kept_whole_in_json(elexirion, tmp_path):
    pipeline = tmp_path / "long.yaml"
    pipeline.write_text(
        "name: long\nsteps: [{name: a, type: set, vars: {x: 1}}]\noutputs: {word: \"{{ 'y' * 200000 }}\"}\n"
    )
    shown = elexirion("run", pipeline)
    assert shown.returncode == 0, shown.stderr
    assert "196000 more characters" in shown.stdout
    assert len(shown.stdout) < 10_000
    whole = elexirion("run", pipeline, "--json")
    assert len(json.loads(whole.stdout)["outputs"]["word"]) == 200_000


def test_an_instance_file_that_is_no_yaml_is_named_with_its_line(elexirion, tmp_path, home_path):
    assert elexirion("init").returncode == 0
    (home_path / "dagster" / "dagster.yaml").write_text("telemetry: [\n")
    pipeline = tmp_path / "p.yaml"
    pipeline.write_text("name: p\nsteps: [{name: a, type: set, vars: {x: 1}}]\n")
    done = elexirion("run", pipeline)
    assert done.returncode == 2
    assert "dagster.yaml:" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_of_a_terminal_reaches_the_whole_group_and_prints_no_traceback(start_elexirion, tmp_path):
    mark = tmp_path / "started"
    pipeline = tmp_path / "p.yaml"
    pipeline.write_text(
        f"name: p\nsteps: [{{name: a, type: command, sandbox: 'off', run: [sh, -c, 'touch {mark}; sleep 60']}}]\n"
    )
    process = start_elexirion("run", pipeline, start_new_session=True)
    deadline = time.monotonic() + 60
    while not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_a_query_without_end_is_ended_by_ctrl_c(elexirion, start_elexirion):
    assert elexirion("outcomes").returncode == 0
    sql = "select count(*) from range(100000000) a, range(100000000) b where (a.range * 7 + b.range) % 11 = 3"
    process = start_elexirion("outcomes", "--sql", sql, start_new_session=True)
    time.sleep(5)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors
