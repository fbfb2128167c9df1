import sys

import dagster as dg
import pytest

from elexirion_dagster.compiler.health import health_sensor, measured
from elexirion_dagster.store.database import ingest
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.journal import JournalWriter


@pytest.fixture
def tick(instance, settings, tmp_path):
    told = tmp_path / "told"
    script = tmp_path / "tell.py"
    script.write_text(f"import sys; open({str(told)!r}, 'a').write(sys.stdin.read() + chr(10))", encoding="utf-8")
    watched = settings.model_copy(update={"alert": f"{sys.executable} {script}"})
    sensor = health_sensor(watched)

    def evaluate(cursor):
        ingest(open_home(settings.home))
        with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
            said = sensor.evaluate_tick(context)
        lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
        return said.cursor, [event.asset_key.to_user_string() for event in said.asset_events], lines

    return evaluate


def ended(settings, number, status, *, cause="timeout", **started):
    with JournalWriter(open_home(settings.home), root_run=f"r{number}", run=f"r{number}") as journal:
        journal.append("run_started", pipeline="main", **started)
        journal.append("run_finished", status=status, cause=None if status == "succeeded" else cause)


def test_a_change_of_health_is_told_once_and_materialised(tick, settings):
    cursor, events, told = tick(None)
    assert (events, told) == (["system_health"], [])
    ended(settings, 1, "failed")
    ended(settings, 2, "failed")
    cursor, events, told = tick(cursor)
    assert events == ["system_health"]
    assert '"state": "critical"' in told[0]
    assert '"was": "healthy"' in told[0]
    cursor, events, told = tick(cursor)
    assert (events, len(told)) == ([], 1)
    for number in range(3, 13):
        ended(settings, number, "succeeded")
    _, events, told = tick(cursor)
    assert (events, len(told)) == (["system_health"], 2)
    assert '"was": "critical"' in told[1]


@pytest.fixture
def states(instance, settings):
    """The state of each part that is not healthy, by kind and name."""

    def look(**changed):
        given = settings.model_copy(update=changed)
        ingest(open_home(settings.home))
        parts = measured(given, instance)
        return {(part.kind, part.name): part.state for part in parts if part.state != "healthy"}

    return look


def test_one_failure_of_one_run_is_an_accident(settings, states):
    ended(settings, 1, "failed")
    assert states() == {("pipeline", "main"): "degraded"}
    ended(settings, 2, "failed")
    assert states() == {("pipeline", "main"): "critical"}


def test_rehearsals_and_wrong_inputs_of_somebody_in_a_terminal_do_not_count(settings, states):
    for number in range(4):
        ended(settings, number, "failed", trigger="cli", tags={"elexirion/rehearsal": "script"})
        ended(settings, number + 10, "failed", cause="bad_input", trigger="cli", tags={})
    assert states() == {}
    ended(settings, 20, "failed", cause="bad_input", trigger="schedule", tags={})
    assert states() == {("pipeline", "main"): "degraded"}


def test_a_wrong_setting_is_critical_and_says_how_to_fix_it(settings, states, tmp_path, instance):
    wrong = {"prices": tmp_path / "nope.json"}
    assert states(**wrong) == {("setting", "ELEXIRION_PRICES"): "critical"}
    (part,) = (part for part in measured(settings.model_copy(update=wrong), instance) if part.kind == "setting")
    assert "nope.json cannot be read" in part.why
    assert '"models"' in part.why
