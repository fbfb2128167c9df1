"""Runs under `elexirion up`: seen by `ps`, ended by `stop`, lost by a kill."""

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest
from serving import command, gone, wait_for

from elexirion_dagster.execution import workers

pytestmark = pytest.mark.slow


def the_sleeper(pid):
    """The `sleep` that the process of a run has started, below the supervisor of its command."""

    def look():
        children = psutil.Process(pid).children(recursive=True) if pid else ()
        return next((child for child in children if command(child)[:1] == ["sleep"]), None)

    return wait_for(look)


def at_sleep(ui, run_id):
    """The sleeper of a run that was launched."""
    return the_sleeper(wait_for(lambda: worker(ui, run_id)))


def elexirion(ui, *words):
    line = [sys.executable, "-m", "elexirion_dagster.cli.main", *words]
    return subprocess.run(line, env=ui.environ, capture_output=True, text=True, check=False, timeout=120)


def the_end(ui, run_id):
    """What the journal says about how a run ended: once."""
    found = wait_for(lambda: [line for line in ui.journal(run_id) if line["kind"] == "run_finished"])
    (line,) = found
    return line["status"], line["cause"]


def worker(ui, run_id):
    return workers.worker(ui.home / "dagster" / "workers", run_id)


def test_ps_shows_what_is_under_way_and_stop_ends_it(ui):
    run_id = ui.started("slow", seconds=305)
    sleeper = at_sleep(ui, run_id)
    (row,) = json.loads(elexirion(ui, "ps", "--json").stdout)
    assert (row["run"], row["pipeline"], row["status"], row["step"]) == (run_id, "slow", "started", "sleeps")
    assert row["pid"] == worker(ui, run_id)
    assert row["seconds"] > 0
    assert row["memory_mb"] > 1
    assert row["cost_usd"] == 0
    assert run_id in elexirion(ui, "ps").stdout
    done = elexirion(ui, "stop", run_id[:8])
    assert (done.stdout, done.returncode) == (f"run {run_id} canceled\n", 0)
    wait_for(lambda: gone(sleeper))
    assert the_end(ui, run_id) == ("cancelled", "cancelled")
    assert elexirion(ui, "ps").stdout == "nothing is under way\n"
    assert not list((ui.home / "dagster" / "workers").glob(f"{run_id}.log"))


def test_stopping_what_is_not_under_way_says_so(ui):
    done = elexirion(ui, "stop", "00000000")
    assert done.returncode == 2
    assert "no run that is under way begins with '00000000'" in done.stderr


def the_daemon(ui):
    return next((one for one in ui.children() if any(word.endswith("dagster-daemon") for word in command(one))), None)


def test_a_worker_that_is_killed_is_a_lost_worker_in_the_journal_also_when_the_daemon_was_killed_before(ui):
    run_id = ui.started("slow", seconds=306)
    sleeper = at_sleep(ui, run_id)
    daemon = wait_for(lambda: the_daemon(ui))
    daemon.kill()
    os.kill(worker(ui, run_id), signal.SIGKILL)
    wait_for(lambda: (one := the_daemon(ui)) and one.pid != daemon.pid)
    assert ui.finished(run_id)["status"] == "FAILURE"
    assert the_end(ui, run_id) == ("failed", "worker_lost")
    wait_for(lambda: gone(sleeper))


def test_a_run_of_the_terminal_that_is_killed_is_failed_by_the_monitoring(ui):
    line = [sys.executable, "-P", "-m", "elexirion_dagster.cli.main", "run", "slow", "seconds=307"]
    process = subprocess.Popen(
        line, env=ui.environ, cwd=ui.home.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    sleeper = the_sleeper(process.pid)
    rows = json.loads(elexirion(ui, "ps", "--json").stdout)  # recoveries of runs that were killed before among them
    (row,) = (row for row in rows if row["pid"] == process.pid)
    process.kill()
    process.wait()
    assert ui.finished(row["run"])["status"] == "FAILURE"
    assert the_end(ui, row["run"]) == ("failed", "worker_lost")
    wait_for(lambda: gone(sleeper))


def test_a_changed_pipeline_is_what_the_next_run_has(ui):
    file = ui.home.parent / "pipelines_yaml" / "breaks.yaml"
    before = file.read_text(encoding="utf-8")
    assert ui.finished(ui.started("breaks"))["status"] == "FAILURE"
    file.write_text(before.replace("/there/is/no/such/place", "/"), encoding="utf-8")
    try:
        assert ui.finished(ui.started("breaks"))["status"] == "SUCCESS"
    finally:
        file.write_text(before, encoding="utf-8")


def test_a_new_pipeline_appears_unasked(ui):
    file = ui.home.parent / "pipelines_yaml" / "appears.yaml"
    file.write_text("name: appears\nsteps: [{name: one, type: set, vars: {x: 1}}]\n", encoding="utf-8")

    def jobs():
        found = ui.locations()["elexirion_dagster"].get("repositories")  # none while it is read again
        return {job["name"] for job in found[0]["jobs"]} if found else ()

    wait_for(lambda: "appears" in jobs())
    assert ui.finished(ui.started("appears"))["status"] == "SUCCESS"


def code_server(ui):
    words = ("grpc", "elexirion_dagster.definitions")
    return next((one for one in ui.children() if all(word in command(one) for word in words)), None)


def test_launches_wait_for_a_code_server_that_was_killed(ui):
    before = code_server(ui)
    before.kill()
    runs = [ui.started("stands_in") for _ in range(3)]
    assert code_server(ui).pid != before.pid
    assert [ui.finished(run_id)["status"] for run_id in runs] == ["SUCCESS"] * 3


def test_a_program_that_exits_by_itself_is_started_again(ui):
    daemon = wait_for(lambda: the_daemon(ui))
    daemon.send_signal(signal.SIGINT)  # it ends as if it had wished to
    wait_for(lambda: any("the daemon exited with code" in line for line in ui.said))
    assert wait_for(lambda: (one := the_daemon(ui)) and one.pid != daemon.pid)
    assert ui.process.poll() is None
    assert ui.finished(ui.started("stands_in"))["status"] == "SUCCESS"


def test_a_second_server_on_one_home_is_refused(ui):
    done = elexirion(ui, "up", "--port", "1")
    assert done.returncode == 2
    assert "another `elexirion up` serves" in done.stderr
