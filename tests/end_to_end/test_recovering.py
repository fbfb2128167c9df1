"""Chaos in short: what real failures of real processes come to. The long form is benchmarks/soak/chaos.py."""

import os
import signal

import dagster as dg
import psutil
import pytest
from serving import wait_for

from elexirion_dagster.execution.workers import WORKERS, worker
from elexirion_dagster.operations.recoveries import show
from elexirion_dagster.settings import Settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def watched(ui):
    """Failures count from the recovery sensor's first look on."""
    wait_for(lambda: "recover_runs" in ticked(ui))
    return ui


def ticked(ui):
    """The sensors that have looked at least once."""
    query = """{ sensorsOrError(repositorySelector: {repositoryName: "__repository__",
        repositoryLocationName: "elexirion_dagster"}) { ... on Sensors { results { name
        sensorState { ticks(limit: 1) { status } } } } } }"""
    rows = ui.ask(query)["sensorsOrError"]["results"]
    return {row["name"] for row in rows if any(tick["status"] != "STARTED" for tick in row["sensorState"]["ticks"])}


def recovered(ui, run_id):
    """The recoveries of a run once all have ended well."""

    def look():
        rows = ui.recoveries(run_id)
        return rows if rows and all(row["status"] == "SUCCESS" for row in rows) else None

    return wait_for(look)


def test_a_burst_of_failures_is_recovered_exactly_once_each_though_the_daemon_is_killed(watched):
    runs = [watched.started("falls_back") for _ in range(6)]
    wait_for(lambda: watched.program("dagster-daemon")).kill()
    for run_id in runs:
        (row,) = recovered(watched, run_id)
        assert row["pipelineName"] == "stands_in"
    assert [len(watched.recoveries(run_id)) for run_id in runs] == [1] * len(runs)


def test_a_run_whose_worker_is_killed_goes_on_and_keeps_what_was_finished(watched):
    run_id = watched.started("naps")
    kinds = ("step", "first")
    wait_for(lambda: [line for line in watched.journal(run_id) if (line["kind"], line.get("path")) == kinds])
    os.kill(worker(watched.home / "dagster" / WORKERS, run_id), signal.SIGKILL)
    assert watched.finished(run_id)["status"] == "FAILURE"
    (row,) = recovered(watched, run_id)
    assert row["pipelineName"] == "naps"
    finished = [line["path"] for line in watched.journal(run_id) if line["kind"] == "step"]
    assert sorted(finished) == ["first", "naps"], "the step that was finished is not done again"
    (line,) = [line for line in watched.journal(run_id) if line["kind"] == "recovery"]
    assert (line["cause"], line["action"]) == ("worker_lost", "continue")


def test_neither_the_daemon_nor_the_code_server_is_needed_to_notice_a_killed_worker_and_to_queue_its_recovery(watched):
    run_id = watched.started("naps")
    pid = wait_for(lambda: worker(watched.home / "dagster" / WORKERS, run_id))
    assert psutil.Process(pid).nice() > 0, "it stands back behind those that watch"
    wait_for(lambda: [line for line in watched.journal(run_id) if line["kind"] == "run_started"])
    stopped = [watched.program("dagster-daemon"), watched.program("module-name elexirion_dagster")]
    for process in stopped:
        process.suspend()
    try:
        os.kill(pid, signal.SIGKILL)
        with dg.DagsterInstance.from_config(str(watched.home / "dagster")) as instance:
            tags = {"elexirion/recovery_of": run_id}
            (queued,) = wait_for(lambda: instance.get_runs(dg.RunsFilter(tags=tags)))
            assert instance.get_run_by_id(run_id).status is dg.DagsterRunStatus.FAILURE
        assert (queued.status.value, queued.tags["dagster/priority"]) == ("QUEUED", "10")
    finally:
        for process in stopped:
            process.resume()
    (row,) = recovered(watched, run_id)
    assert row["runId"] == queued.run_id


def test_a_failure_that_nothing_mends_is_parked_with_a_report(watched):
    run_id = watched.started("breaks")
    wait_for(lambda: [line for line in watched.journal(run_id) if line["kind"] == "recovery"])
    shown = show(run_id, Settings(home=watched.home))
    assert "command_failed" in shown.report
    assert watched.recoveries(run_id) == []
