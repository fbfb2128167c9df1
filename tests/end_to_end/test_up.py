"""The Dagster web server, daemon and code servers as `elexirion up` starts them."""

import signal
import socket

import httpx
import psutil
import pytest
from dagster import DagsterInstance, DagsterRunStatus
from serving import SHADOWED, command, gone, wait_for

from elexirion_dagster.operations.outcomes import ask
from elexirion_dagster.settings import Settings

pytestmark = pytest.mark.slow


def the_sleeper(ui, seconds):
    """The child process of a run of the pipeline `slow`."""
    words = ["sleep", str(seconds)]
    return wait_for(lambda: next((child for child in ui.children() if command(child) == words), None))


def test_both_locations_load_and_say_what_is_broken(ui):
    found = ui.locations()
    assert {name: entry["__typename"] for name, entry in found.items()} == {
        "elexirion_dagster": "RepositoryLocation",
        "optimizer_assets": "RepositoryLocation",
    }
    jobs = {job["name"]: job["description"] for job in found["elexirion_dagster"]["repositories"][0]["jobs"]}
    assert {"nightly_scan", "slow", "breaks", "torn__broken"} <= set(jobs)
    assert "torn.yaml" in jobs["torn__broken"]


def test_one_port_of_this_machine_is_all_that_is_open(ui):
    ours = [child.pid for child in ui.children()]
    bound = [
        tuple(connection.laddr)
        for connection in psutil.net_connections("tcp")
        if connection.pid in ours and connection.status == psutil.CONN_LISTEN
    ]
    assert bound == [("127.0.0.1", ui.port)]


def test_no_other_user_may_open_a_socket_of_ours(ui):
    paths = {
        ui.home / "dagster" / connection.laddr
        for child in ui.children()
        for connection in child.net_connections("unix")
        if connection.laddr and "\0" not in connection.laddr
    }
    assert {"elexirion_dagster", "optimizer_assets", "zygote.sock"} <= {path.name for path in paths}
    # Pytest's own folders are closed as well, so only the socket and its folder count.
    opened = [path for path in paths if path.stat().st_mode & 0o077 and path.parent.stat().st_mode & 0o077]
    assert not opened


def test_what_up_serves_stands_behind_the_guard(ui):
    foreign = {"origin": "http://evil.example"}
    assert httpx.get(f"{ui.url}/server_info", headers=foreign, trust_env=False).status_code == 403
    asked = httpx.get(f"{ui.url}/server_info", headers={"host": "evil.example"}, trust_env=False)
    assert asked.status_code == 421


def test_a_scan_launched_in_the_ui_runs_and_its_ops_show_what_they_did(ui, small_repository):
    run_id = ui.started("nightly_scan", repo=str(small_repository))
    assert ui.finished(run_id)["status"] == "SUCCESS"
    shown = ui.metadata(run_id)
    assert int(shown["analyze"]["files"]) == 4
    assert int(shown["analyze"]["findings"]) >= 4
    assert int(shown["outputs"]["findings"]) == int(shown["analyze"]["findings"])
    assert shown["review"]["status"] == "skipped"
    assert "no model is configured" in shown["review"]["skipped_because"]
    assert shown["outputs"]["report_html"].endswith("report.html")
    assert {line["kind"] for line in ui.journal(run_id)} >= {"run_started", "pin", "step", "findings", "outputs"}


def test_no_module_is_imported_from_the_folder_where_up_was_started(ui, tmp_path):
    (tmp_path / "number").write_text("22", encoding="utf-8")
    run_id = ui.started("mends", folder=str(tmp_path))
    assert ui.finished(run_id)["status"] == "SUCCESS"  # so server, daemon, code server and worker have imported theirs
    assert not (ui.home.parent / SHADOWED).exists()


def test_a_file_env_where_up_was_started_sets_nothing(ui):
    run_id = ui.started("where")
    assert ui.finished(run_id)["status"] == "SUCCESS"
    (line,) = [line for line in ui.journal(run_id) if line["kind"] == "outputs"]
    assert line["outputs"] == {"where": "here"}
    assert not [said for said in ui.said if "environment variables" in said]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [({"seconds": "many"}, "Int"), ({"minutes": 3}, "unexpected config entry")],
    ids=["wrong_type", "unknown"],
)
def test_wrong_inputs_are_refused_at_launch(ui, inputs, message):
    answer = ui.launch("slow", inputs)
    assert answer["__typename"] == "RunConfigValidationInvalid"
    assert message in answer["errors"][0]["message"]


def test_terminating_in_the_ui_ends_the_children_and_cancels_the_run(ui):
    run_id = ui.started("slow", seconds=301)
    sleeper = the_sleeper(ui, 301)
    assert ui.terminate(run_id) == "TerminateRunSuccess"
    assert ui.finished(run_id)["status"] == "CANCELED"
    wait_for(lambda: gone(sleeper))
    assert "run_started" in {line["kind"] for line in ui.journal(run_id)}
    ended = wait_for(lambda: [line for line in ui.journal(run_id) if line["kind"] == "run_finished"])
    assert [line["status"] for line in ended] == ["cancelled"]


def test_the_sensors_record_a_failed_run_with_its_cause_and_load_it_into_the_tables(ui):
    run_id = ui.started("breaks")
    assert ui.finished(run_id)["status"] == "FAILURE"
    line = wait_for(lambda: [line for line in ui.journal(run_id) if line["kind"] == "run_finished"])[0]
    assert (line["status"], line["cause"]) == ("failed", "command_failed")
    sql = f"SELECT status, cause FROM runs WHERE run = '{run_id}'"  # noqa: S608 - the id is Dagster's own
    settings = Settings(home=ui.home)
    assert ask(settings, sql, limit=1)[1].rows == (("failed", "command_failed"),)


def test_reexecution_from_failure_continues_the_root_run_on_the_values_that_are_there(ui, tmp_path):
    first = ui.started("mends", folder=str(tmp_path))
    assert ui.finished(first)["status"] == "FAILURE"
    (tmp_path / "number").write_text("22", encoding="utf-8")
    second = ui.resumed(first)
    found = ui.finished(second)
    assert found["status"] == "SUCCESS"
    assert {stats["stepKey"] for stats in found["stepStats"]} == {"second", "outputs"}
    (line,) = [line for line in ui.journal(first) if line["kind"] == "outputs"]
    assert (line["run"], line["outputs"]) == (second, {"sum": 42})


def test_stopping_up_ends_all_it_started_and_cancels_its_runs_in_dagster_and_in_the_tables(ui):
    runs = [ui.started("slow", seconds=302) for _ in range(3)]

    def sleepers():
        return [child for child in ui.children() if command(child) == ["sleep", "302"]]

    wait_for(lambda: len(sleepers()) == len(runs))
    everything = ui.children()
    ui.process.send_signal(signal.SIGTERM)
    assert ui.process.wait(120) == 130
    wait_for(lambda: all(gone(process) for process in everything))
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", ui.port)) != 0
    rows = ask(Settings(home=ui.home), "SELECT run, status FROM runs WHERE pipeline = 'slow'", limit=1)[1].rows
    with DagsterInstance.from_config(str(ui.home / "dagster")) as instance:
        assert {instance.get_run_by_id(run_id).status for run_id in runs} == {DagsterRunStatus.CANCELED}
    assert {run_id: dict(rows)[run_id] for run_id in runs} == dict.fromkeys(runs, "cancelled")
    assert all(line["run"] == run_id for run_id in runs for line in ui.journal(run_id))
