import json

import dagster as dg
import pytest

from elexirion_dagster.compiler.sensors import ingest_sensor, record_runs_sensor
from elexirion_dagster.store.database import query
from elexirion_dagster.store.home import open_home

SMALL = "name: small\nsteps:\n- {name: a, type: set, vars: {x: 1}}\n"
WRONG = "name: wrong\nsteps:\n- {name: a, type: command, run: ['false']}\n"
RUNS = [f"0a0a0a0a-0000-4000-8000-00000000000{number}" for number in range(1, 4)]


@pytest.fixture
def tick(instance):
    """Evaluate a sensor once; returns its cursor and what it says."""

    def evaluate(sensor, cursor=None):
        with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
            said = sensor.evaluate_tick(context)
        return said.cursor, said.skip_message

    return evaluate


def ends(home_path):
    """The journal's lines about ended runs, by run."""
    files = sorted(home_path.glob("journal/*/*.jsonl"))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    found: dict[str, list[dict]] = {}
    for line in lines:
        if line["kind"] == "run_finished":
            found.setdefault(line["run"], []).append(line)
    return found


def lost(home_path, run_id):
    """Take away what the journal says about the end of a run, as if its process had died before it could write that."""
    for file in home_path.glob(f"journal/*/{run_id}.[a-z]*.jsonl"):
        file.unlink()


def test_a_run_journals_its_own_end_and_the_sensor_does_not_repeat_it(tick, finished, settings, home_path):
    sensor = record_runs_sensor(settings)
    cursor, _ = tick(sensor)
    finished(WRONG, run_id=RUNS[0])
    before = ends(home_path)
    (line,) = before[RUNS[0]]
    assert (line["status"], line["cause"]) == ("failed", "command_failed")
    assert line["duration_s"] > 0
    assert tick(sensor, cursor)[1] == "recorded 1 finished runs"
    assert ends(home_path) == before


def test_runs_that_ended_before_the_first_tick_are_left_alone_and_later_ones_are_recorded(
    tick, finished, settings, home_path
):
    sensor = record_runs_sensor(settings)
    finished(SMALL, run_id=RUNS[0])
    cursor, said = tick(sensor)
    assert said == "recorded 0 finished runs"

    finished(WRONG, run_id=RUNS[1])
    finished(SMALL, run_id=RUNS[2])
    for run_id in RUNS:
        lost(home_path, run_id)
    assert ends(home_path) == {}
    cursor, said = tick(sensor, cursor)
    assert said == "recorded 2 finished runs"
    after = ends(home_path)
    assert {run: [line["status"] for line in lines] for run, lines in after.items()} == {
        RUNS[1]: ["failed"],
        RUNS[2]: ["succeeded"],
    }
    assert after[RUNS[1]][0]["cause"] == "command_failed"

    assert tick(sensor, cursor)[1] == "recorded 0 finished runs"


def test_a_run_that_a_worker_did_not_survive_is_recorded_as_lost(tick, finished, instance, settings, home_path):
    sensor = record_runs_sensor(settings)
    finished(SMALL, run_id=RUNS[0])
    cursor, _ = tick(sensor)
    instance.add_run(
        dg.DagsterRun("small", RUNS[1], status=dg.DagsterRunStatus.STARTED, tags={"elexirion/pipeline": "small"})
    )
    instance.report_run_failed(instance.get_run_by_id(RUNS[1]), "the process is gone")
    tick(sensor, cursor)
    (line,) = ends(home_path)[RUNS[1]]
    assert (line["status"], line["cause"], line["message"]) == ("failed", "worker_lost", "the process is gone")


def test_runs_of_other_jobs_are_none_of_our_business(tick, instance, settings, home_path):
    sensor = record_runs_sensor(settings)
    cursor, _ = tick(sensor)
    instance.add_run(dg.DagsterRun("foreign", RUNS[0], status=dg.DagsterRunStatus.STARTED))
    instance.report_run_failed(instance.get_run_by_id(RUNS[0]), "lost")
    assert tick(sensor, cursor)[1] == "recorded 0 finished runs"
    assert ends(home_path) == {}


def test_the_journal_reaches_the_tables(tick, finished, settings, home_path):
    finished(SMALL)
    _, said = tick(ingest_sensor(settings))
    assert "from 2 files" in said
    assert query(open_home(home_path), "SELECT pipeline, status FROM runs").rows == (("small", "succeeded"),)


def test_both_sensors_run_unasked(settings):
    running = dg.DefaultSensorStatus.RUNNING
    assert record_runs_sensor(settings).default_status is running
    assert ingest_sensor(settings).default_status is running
