"""Recoveries that wait for a provider, in the sensor: one finds out whether it is well, the others wait for that."""

import json
import time
import uuid
from contextlib import closing

import dagster as dg
import pytest
from filelock import FileLock

from elexirion_dagster.compiler.recovery import recovery_sensor
from elexirion_dagster.compiler.waits import PROBE_S, Cursor, next_look
from elexirion_dagster.recovery.plan import Plan
from elexirion_dagster.recovery.recover import resume_lock
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.accounts.gates import FAILURES, Gates, Shut
from elexirion_dagster.store.accounts.ledger_file import LedgerFile
from elexirion_dagster.store.failures.recoveries import past
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.journal import JournalWriter

NOW = 1_000_000.0
OPEN = Shut("overloaded", NOW - 9, NOW + 6, ill=True, probing=False)
HALF_OPEN = Shut("overloaded", NOW - 20, NOW - 5, ill=True, probing=False)
PROBED = Shut("overloaded", NOW - 1, NOW, ill=True, probing=True)


def plan(*awaits, latest_at=NOW + 3600):
    return Plan("wait", "r", due_at=NOW, awaits=awaits or (("m",),), latest_at=latest_at)


def look(states):
    return states.get


def test_a_plan_waits_while_the_breaker_is_open_and_starts_when_it_is_closed():
    assert next_look(plan(), Cursor(0), look({"m": OPEN}), NOW) == NOW + 6
    assert next_look(plan(), Cursor(0), look({}), NOW) is None


def test_of_those_that_wait_one_is_started_when_the_breaker_half_opens_and_the_others_look_again():
    cursor = Cursor(0)
    looks = [next_look(plan(), cursor, look({"m": HALF_OPEN}), NOW) for _ in range(5)]
    assert looks[0] is None
    assert all(NOW < at < NOW + 10 for at in looks[1:])
    assert json.loads(cursor.text())["probes"] == {"m": NOW}


def test_while_a_call_finds_out_nobody_else_is_started():
    assert next_look(plan(), Cursor(0), look({"m": PROBED}), NOW) > NOW


def test_another_one_is_sent_when_the_first_never_came_to_its_call():
    cursor = Cursor(0, probes={"m": NOW - PROBE_S + 1})
    assert next_look(plan(), cursor, look({"m": HALF_OPEN}), NOW) is not None
    assert next_look(plan(), cursor, look({"m": HALF_OPEN}), NOW + 2) is None


def test_one_model_of_each_list_is_enough_and_each_list_needs_one():
    assert next_look(plan(("m", "n")), Cursor(0), look({"m": OPEN}), NOW) is None
    assert next_look(plan(("m",), ("n",)), Cursor(0), look({"m": OPEN}), NOW) == NOW + 6


def test_nobody_waits_longer_than_the_bound():
    assert next_look(plan(latest_at=NOW + 2), Cursor(0), look({"m": OPEN}), NOW) == NOW + 2
    assert next_look(plan(latest_at=NOW), Cursor(0), look({"m": OPEN}), NOW) is None


PIPELINE = "name: asks\nmodel: fake/m\nsteps:\n- {name: a, type: llm, prompt: go}\n"


@pytest.fixture
def settings(home_path):
    return Settings(home=home_path, model="fake")


@pytest.fixture
def tick(tmp_path, settings, instance):
    """One look of a sensor that was just made, as after a restart of everything."""
    file = tmp_path / "asks.yaml"
    file.write_text(PIPELINE, encoding="utf-8")

    @dg.op
    def nothing(): ...

    @dg.job
    def asks():
        nothing()

    def evaluate(cursor):
        sensor = recovery_sensor(settings, lambda: {"asks": file}, [asks], watch_s=0)
        with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
            said = sensor.evaluate_tick(context)
        return said.cursor, [request.run_key for request in said.run_requests or []]

    return evaluate


@pytest.fixture
def overloaded(instance, settings):
    """A run that failed because its model was overloaded."""

    def fail():
        run_id = str(uuid.uuid4())
        tags = {"elexirion/pipeline": "asks"}
        instance.add_run(dg.DagsterRun("asks", run_id, status=dg.DagsterRunStatus.STARTED, tags=tags))
        with JournalWriter(open_home(settings.home), root_run=run_id, run=run_id) as journal:
            journal.append("given_up", path="a", models=["fake/m"], cause="overloaded", refused=True)
        failure = dg.DagsterEvent(
            "STEP_FAILURE",
            "asks",
            step_key="a",
            event_specific_data=_failure_data("overloaded"),
            message="it failed",
        )
        instance.report_dagster_event(failure, run_id)
        instance.report_dagster_event(dg.DagsterEvent("PIPELINE_FAILURE", "asks", message="failed"), run_id)
        return run_id

    return fail


def _failure_data(cause):
    from dagster._core.execution.plan.objects import StepFailureData, UserFailureData

    told = UserFailureData(
        label="intentional-failure", description="busy", metadata={"cause": dg.TextMetadataValue(cause)}
    )
    return StepFailureData(error=None, user_failure_data=told)


@pytest.fixture
def gate(settings):
    """The circuit breaker of the model, told how calls end."""

    def tell(cause, times=1, *, probe=False):
        with closing(LedgerFile(open_home(settings.home))) as ledger:
            for _ in range(times):
                Gates(ledger).tell("fake/m", cause, retry_after_s=None, probe=probe)

    return tell


@pytest.fixture
def cooled(settings):
    """Let the breaker half-open."""

    def cool():
        with closing(LedgerFile(open_home(settings.home))) as ledger, ledger.transaction() as db:
            db.execute("UPDATE gates SET shut_until = ?", (time.time() - 1,))

    return cool


def later(cursor):
    """The cursor once all that wait are to be looked at again."""
    kept = json.loads(cursor)
    return json.dumps({**kept, "waiting": dict.fromkeys(kept["waiting"], time.time() - 1)})


def test_waits_outlive_a_restart_one_run_finds_out_and_all_go_on_when_the_provider_is_back(
    tick, overloaded, gate, cooled, settings
):
    cursor, _ = tick('{"after": 0, "ended": 0}')
    gate("overloaded", FAILURES)
    runs = {overloaded() for _ in range(4)}
    cursor, requests = tick(cursor)
    assert requests == []
    assert json.loads(cursor)["waiting"].keys() == runs
    assert all(past(open_home(settings.home), run).decided[run]["action"] == "wait" for run in runs)
    cursor, requests = tick(later(cursor))
    assert requests == [], "the breaker is open"

    cooled()
    cursor, requests = tick(later(cursor))
    assert len(requests) == 1
    assert len(json.loads(cursor)["waiting"]) == 3
    gate("overloaded", probe=True)
    cursor, more = tick(later(cursor))
    assert more == [], "it is still ill"

    gate(None, probe=True)
    cursor, more = tick(later(cursor))
    assert sorted(requests + more) == sorted(f"{run}:1" for run in runs)
    assert json.loads(cursor)["waiting"] == {}


def test_a_daemon_that_died_before_it_kept_its_cursor_finds_the_wait_in_the_journal(tick, overloaded, gate):
    cursor, _ = tick('{"after": 0, "ended": 0}')
    gate("overloaded", FAILURES)
    run = overloaded()
    first, second = tick(cursor)[0], tick(cursor)[0]
    assert list(json.loads(first)["waiting"]) == list(json.loads(second)["waiting"]) == [run]


def test_what_a_person_resumes_meanwhile_is_not_started_as_well(tick, overloaded, gate, settings):
    cursor, _ = tick('{"after": 0, "ended": 0}')
    gate("overloaded", FAILURES)
    resumed, adopted, waits = (overloaded() for _ in range(3))
    cursor, _ = tick(cursor)
    gate(None)
    home = open_home(settings.home)
    with JournalWriter(home, root_run=adopted, run=adopted) as journal:
        journal.append("adoption", what="wait", file=None)
    with FileLock(resume_lock(home, resumed)):
        cursor, requests = tick(later(cursor))
    assert requests == [f"{waits}:1"]
    assert tick(later(cursor))[1] == []


def test_cursors_of_before_have_no_probes():
    assert Cursor.of('{"after": 3, "waiting": {"a": 1.0}}', lambda: 0, lambda: 9) == Cursor(3, {"a": 1.0}, 9)
