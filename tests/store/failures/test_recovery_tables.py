"""What the tables say about failures and what came after them."""

from datetime import UTC, datetime

import pytest

from elexirion_dagster.store.database import ingest, query
from elexirion_dagster.store.failures.health import Health, pipelines, providers, worst
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.journal import JournalWriter


@pytest.fixture
def home(home_path):
    return open_home(home_path)


@pytest.fixture
def write(home):
    def append(run, kind, *, root="root", **fields):
        with JournalWriter(home, root_run=root, run=run) as journal:
            journal.append(kind, **fields)

    return append


def decided(write, run, *, cause="timeout", action="continue", launches=1, root="root", at=None, **more):
    write(
        run,
        "recovery",
        root=root,
        pipeline="main",
        cause=cause,
        message="m",
        failed_at=at or datetime.now(UTC).timestamp(),
        action=action,
        rule=None,
        reason="r",
        launches=[{"key": f"{run}:1", "job": "main", "tags": {}}] * launches,
        due_at=None,
        change=None,
        document=None,
        max_recoveries=3,
        **more,
    )


def asked(write, run, call, attempt, model, cause=None, *, path="ask"):  # noqa: PLR0917 - one line per call
    head = {"call_id": call, "path": path, "request_hash": model, "occurrence": 1, "attempt": attempt}
    head |= {"provider": model.split("/")[0], "model": model}
    write(run, "intent", **head)
    if cause:
        write(run, "call_failed", **head, cause=cause, message="m")
    else:
        reply = {"blocks": [], "usage": {}, "stop_reason": "end_turn", "latency_s": 0.1}
        write(run, "reply", **head, reply=reply)


def test_the_time_to_recovery_is_from_the_failure_to_the_start_of_the_run_that_recovers(home, write):
    decided(write, "root", at=datetime.now(UTC).timestamp() - 7)
    write("two", "run_started", pipeline="main", recovery_of="root")
    write("two", "run_finished", status="succeeded")
    decided(write, "parked", action="park", launches=0)
    ingest(home)
    rows = query(home, "SELECT cause, action, failures, started, succeeded FROM recoveries_by_cause ORDER BY action")
    assert rows.rows == (("timeout", "continue", 1, 1, 1), ("timeout", "park", 1, 0, 0))
    ((seconds,),) = query(home, "SELECT time_to_recovery_s FROM recovery_times WHERE run = 'root'").rows
    assert 7 <= seconds < 60


def test_each_layer_counts_what_it_mended(home, write):
    asked(write, "root", "c1", 1, "a/1", "timeout")
    asked(write, "root", "c2", 2, "a/1", "timeout")
    asked(write, "root", "c3", 1, "b/1")
    asked(write, "root", "c4", 1, "a/1", path="other")
    result = {"status": "succeeded"}
    for attempts in (1, 3):
        write("root", "step", path=f"s{attempts}", step="s", status="succeeded", result=result, attempts=attempts)
    decided(write, "root")
    decided(write, "two", action="park", launches=0)
    ingest(home)
    found = query(home, "SELECT layer, times, succeeded FROM layers").rows
    assert found == (
        ("call retry", 1, 0),
        ("step retry", 1, 1),
        ("failover", 1, 1),
        ("recovery", 1, 0),
        ("parked", 1, 0),
    )


def test_a_decision_that_was_written_twice_counts_once(home, write):
    decided(write, "root")
    decided(write, "root")
    ingest(home)
    assert query(home, "SELECT failures FROM recoveries_by_cause").rows == ((1,),)


@pytest.mark.parametrize(
    ("failed", "well", "state"),
    [(3, 1, "critical"), (2, 0, "degraded"), (1, 9, "degraded"), (1, 20, "healthy"), (0, 1, "healthy")],
)
def test_a_providers_health_follows_the_share_of_calls_that_it_failed(home, write, failed, well, state):
    for number in range(failed + well):
        asked(write, "root", f"c{number}", 1, "a/1", "overloaded" if number < failed else None)
    asked(write, "root", "refused", 1, "z/1", "refused")
    ingest(home)
    assert [(part.name, part.state) for part in providers(home)] == [("a", state), ("z", "healthy")]


def test_a_pipeline_whose_failed_run_was_recovered_is_healthy_and_one_that_failed_once_is_degraded(home, write):
    lost = ("failed", "failed")
    for root, pipeline, ends in (("a", "one", ("failed", "succeeded")), ("b", "two", lost), *_twice("three", lost)):
        for number, status in enumerate(ends):
            run, name = f"{root}{number}", f"pipe_{pipeline}"
            write(run, "run_started", root=root, pipeline=name)
            write(run, "run_finished", root=root, status=status, cause=None if status == "succeeded" else "timeout")
    ingest(home)
    states = {part.name: part.state for part in pipelines(home)}
    assert states == {"pipe_one": "healthy", "pipe_two": "degraded", "pipe_three": "critical"}


def _twice(pipeline, ends):
    return (("c", pipeline, ends), ("d", pipeline, ends))


def test_the_whole_is_as_its_worst_part():
    parts = [Health("queue", "runs", "healthy", ""), Health("provider", "a", "degraded", "")]
    assert worst(parts) == "degraded"
    assert worst([]) == "healthy"


def test_a_wait_for_a_provider_lasts_until_its_run_begins_and_is_a_layer_of_its_own(home, write):
    decided(write, "root", action="wait", awaits=[["fake/m"]], at=datetime.now(UTC).timestamp() - 7)
    decided(write, "other", action="wait")
    ingest(home)
    times = "SELECT run, waited_s, awaits FROM recovery_times ORDER BY run"
    assert query(home, times).rows == (("other", 0.0, None), ("root", None, '[["fake/m"]]'))
    write("two", "run_started", pipeline="main", recovery_of="root")
    ingest(home)
    assert query(home, "SELECT waited_s < 5 FROM recovery_times WHERE run = 'root'").rows == ((True,),)
    assert query(home, "SELECT layer, times FROM layers").rows == (("recovery", 1), ("wait", 1))
