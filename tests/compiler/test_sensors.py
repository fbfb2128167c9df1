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


def test_runs_that_ended_before_the_first_tick_are_left_alone_and_later_ones_are_recorded(
    tick, finished, settings, home_path
):
    sensor = record_runs_sensor(settings)
    finished(SMALL, run_id=RUNS[0])
    cursor, said = tick(sensor)
    assert said == "recorded 0 finished runs"

    finished(WRONG, run_id=RUNS[1])
    finished(SMALL, run_id=RUNS[2])
    known = {run: len(lines) for run, lines in ends(home_path).items()}
    cursor, said = tick(sensor, cursor)
    assert said == "recorded 2 finished runs"
    after = ends(home_path)
    assert {run: len(lines) - known[run] for run, lines in after.items()} == {RUNS[0]: 0, RUNS[1]: 1, RUNS[2]: 1}
    last = after[RUNS[1]][-1]
    assert (last["status"], last["cause"]) == ("failed", "command_failed")
    assert last["duration_s"] > 0

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
    assert "from 1 files" in said
    assert query(open_home(home_path), "SELECT pipeline, status FROM runs").rows == (("small", "succeeded"),)


def test_both_sensors_run_unasked(settings):
    running = dg.DefaultSensorStatus.RUNNING
    assert record_runs_sensor(settings).default_status is running
    assert ingest_sensor(settings).default_status is running
