import sys

import dagster as dg
import pytest

from elexirion_dagster.compiler.health import health_sensor
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


def ended(settings, number, status):
    with JournalWriter(open_home(settings.home), root_run=f"r{number}", run=f"r{number}") as journal:
        journal.append("run_started", pipeline="main")
        journal.append("run_finished", status=status, cause=None if status == "succeeded" else "timeout")


def test_a_change_of_health_is_told_once_and_materialised(tick, settings):
    cursor, events, told = tick(None)
    assert (events, told) == (["system_health"], [])
    ended(settings, 1, "failed")
    cursor, events, told = tick(cursor)
    assert events == ["system_health"]
    assert '"state": "critical"' in told[0]
    assert '"was": "healthy"' in told[0]
    cursor, events, told = tick(cursor)
    assert (events, len(told)) == ([], 1)
    for number in range(2, 12):
        ended(settings, number, "succeeded")
    _, events, told = tick(cursor)
    assert (events, len(told)) == (["system_health"], 2)
    assert '"was": "critical"' in told[1]
