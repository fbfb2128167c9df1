"""A recovery enters the queue from whatever process sees the failure first, once, in a lane of its own."""

import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.execution.api import create_execution_plan
from dagster._core.execution.plan.objects import StepFailureData, UserFailureData
from dagster._core.execution.plan.state import KnownExecutionState
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType
from dagster_shared import record

from elexirion_dagster.compiler.recovery import recover_now, recovery_sensor
from elexirion_dagster.compiler.starting import can_copy, start_copy
from elexirion_dagster.definitions import job_of_file
from elexirion_dagster.execution.workers import WORKERS
from elexirion_dagster.recovery.plan import Launch
from elexirion_dagster.store import journal
from elexirion_dagster.store.failures.recoveries import past
from elexirion_dagster.store.home import open_home

PIPELINE = """
name: asks
inputs: {x: {type: string, default: a}}
tags: {dagster/max_runtime: "77", team: one}
steps: [{name: a, type: set, vars: {x: 1}}]
fallback:
  - {on: [connection], change: {max_tokens: 9}}
  - {on: [refused], run: other}
"""
QUEUED = dg.DagsterRunStatus.QUEUED


@pytest.fixture
def known(tmp_path):
    file = tmp_path / "asks.yaml"
    file.write_text(PIPELINE, encoding="utf-8")
    other = tmp_path / "other.yaml"
    other.write_text("name: other\nsteps: [{name: a, type: set, vars: {x: 1}}]\n", encoding="utf-8")
    return {"asks": file, "other": other}


@pytest.fixture
def failed(instance, settings, known):
    """A run, as Dagster's web server makes it, that failed with this cause."""
    job = job_of_file(known["asks"], settings)
    pointer = ModuleCodePointer("elexirion_dagster.definitions", "defs")
    code = JobPythonOrigin(job.name, RepositoryPythonOrigin("python", pointer))
    remote = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "__repository__").get_job_origin(job.name)

    def fail(cause, **tags):
        run = instance.create_run_for_job(
            job, run_config={"x": "b"}, tags={**job.tags, **tags}, remote_job_origin=remote, job_code_origin=code
        )
        metadata = {"cause": dg.TextMetadataValue(cause)}
        told = UserFailureData(label="intentional-failure", description="it broke", metadata=metadata)
        data = StepFailureData(error=None, user_failure_data=told)
        for event in (
            dg.DagsterEvent("STEP_FAILURE", job.name, step_key="a", event_specific_data=data, message="failed"),
            dg.DagsterEvent("PIPELINE_FAILURE", job.name, message="failed"),
        ):
            instance.report_dagster_event(event, run.run_id)
        return instance.get_run_by_id(run.run_id)

    return fail


def others(instance, run):
    return [one for one in instance.get_runs() if one.run_id != run.run_id]


def test_a_failed_run_is_recovered_by_its_own_worker(instance, settings, known, failed):
    run = failed("connection")
    recover_now(instance, run.run_id, settings, known)
    (copy,) = others(instance, run)
    assert (copy.status, copy.job_name, copy.run_config) == (QUEUED, "asks", {"x": "b"})
    assert copy.remote_job_origin == run.remote_job_origin
    assert copy.tags["elexirion/recovery_of"] == run.run_id
    assert copy.tags["dagster/run_key"] == f"{run.run_id}:1"
    assert copy.tags["elexirion/change"] == '{"max_tokens":9}'
    assert (copy.tags["team"], copy.tags["dagster/max_runtime"]) == ("one", "77"), "what the job gives its runs"


def test_recoveries_go_before_first_runs_and_take_none_of_their_places(instance, settings, known, failed):
    run = failed("connection")
    assert (run.tags["elexirion/lane"], run.tags["elexirion/lane_of"]) == ("first", "asks")
    recover_now(instance, run.run_id, settings, known)
    (copy,) = others(instance, run)
    assert (copy.tags["elexirion/lane"], copy.tags["elexirion/lane_of"]) == ("recovery", "recovery")
    assert int(copy.tags["dagster/priority"]) > 0


def test_worker_and_sensor_together_start_a_recovery_once(instance, settings, known, failed):
    run = failed("connection")
    sensor = recovery_sensor(settings, lambda: known, [job_of_file(known["asks"], settings)], watch_s=0)
    recover_now(instance, run.run_id, settings, known)
    recover_now(instance, run.run_id, settings, known)
    with dg.build_sensor_context(instance=instance, cursor='{"after": 0, "ended": 0}') as context:
        assert not sensor.evaluate_tick(context).run_requests
    assert len(others(instance, run)) == 1
    assert len(past(open_home(settings.home), run.run_id).decided) == 1


def test_a_run_that_went_on_with_another_in_dagster_is_left_to_the_sensor(instance, failed, settings, known):
    run = failed("connection")
    job = job_of_file(known["asks"], settings)
    state = KnownExecutionState.build_for_reexecution(instance, run)
    plan = create_execution_plan(job, {"x": "b"}, known_state=state)
    again = instance.create_run_for_job(
        job, execution_plan=plan, remote_job_origin=run.remote_job_origin, job_code_origin=run.job_code_origin
    )
    assert can_copy(instance, run, Launch("k", "asks", {}))
    assert not can_copy(instance, again, Launch("k", "asks", {}))


def test_of_many_that_start_the_same_recovery_one_does(instance, failed):
    run = failed("connection")
    launch = Launch("key", "asks", {})
    with ThreadPoolExecutor(8) as pool:
        started = list(pool.map(lambda _: start_copy(instance, run, launch, run.run_config), range(8)))
    assert len(others(instance, run)) == 1
    assert any(started)


def test_a_recovery_whose_start_was_cut_short_is_started_by_who_looks_next(instance, settings, known, failed):
    run = failed("connection")
    recover_now(instance, run.run_id, settings, known)
    (copy,) = others(instance, run)
    instance.delete_run(copy.run_id)
    instance.add_run(copy.with_status(dg.DagsterRunStatus.NOT_STARTED))
    recover_now(instance, run.run_id, settings, known)
    assert [one.status for one in others(instance, run)] == [QUEUED]


def test_a_run_that_a_sensor_of_before_asked_for_is_not_started_again(instance, failed):
    run = failed("connection")
    old = dg.DagsterRun(
        "asks", str(uuid.uuid4()), status=dg.DagsterRunStatus.STARTED, tags={"dagster/run_key": f"{run.run_id}:1"}
    )
    instance.add_run(old)
    assert not start_copy(instance, run, Launch(f"{run.run_id}:1", "asks", {}), run.run_config)
    assert len(others(instance, run)) == 1


def test_what_runs_another_pipeline_is_left_to_the_sensor_which_knows_what_is_loaded(instance, settings, known, failed):
    run = failed("refused")
    recover_now(instance, run.run_id, settings, known)
    assert others(instance, run) == []
    assert not past(open_home(settings.home), run.run_id).decided
    assert not can_copy(instance, run, Launch("k", "other", {}))


@pytest.mark.parametrize("tags", [{"elexirion/trigger": "cli"}, {"elexirion/pipeline": None}])
def test_runs_of_a_terminal_and_of_others_are_left_alone(instance, settings, known, failed, tags):
    run = failed("connection", **{name: value for name, value in tags.items() if value})
    if None in tags.values():
        run = instance.add_run(dg.DagsterRun("foreign", str(uuid.uuid4()), status=dg.DagsterRunStatus.FAILURE))
    before = len(instance.get_runs())
    recover_now(instance, run.run_id, settings, known)
    assert len(instance.get_runs()) == before


def test_a_wait_is_left_to_the_sensor(instance, settings, known, failed):
    known["asks"].write_text(PIPELINE.replace("change: {max_tokens: 9}", "wait: true"), encoding="utf-8")
    run = failed("connection")
    recover_now(instance, run.run_id, settings, known)
    assert others(instance, run) == []
    assert past(open_home(settings.home), run.run_id).decided[run.run_id]["action"] == "wait"


def test_where_somebody_stopped_the_sensor_nothing_is_recovered(instance, settings, known, failed):
    run = failed("connection")
    origin = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "__repository__")
    instance.add_instigator_state(
        InstigatorState(
            origin.get_instigator_origin("recover_runs"), InstigatorType.SENSOR, InstigatorStatus.STOPPED, None
        )
    )
    recover_now(instance, run.run_id, settings, known)
    assert others(instance, run) == []


def test_a_run_whose_worker_was_killed_is_failed_journaled_and_recovered_at_once(instance, settings, known, failed):
    first = failed("worker_lost")
    run = record.copy(first, run_id=str(uuid.uuid4()), status=dg.DagsterRunStatus.STARTED)
    instance.add_run(run)
    claim = "import sys, time; from pathlib import Path; from elexirion_dagster.execution.workers import claim\n"
    claim += "print(claim(Path(sys.argv[1]), sys.argv[2], 'warm'), flush=True); time.sleep(600)"
    folder = Path(instance.root_directory) / WORKERS
    with subprocess.Popen([sys.executable, "-c", claim, folder, run.run_id], stdout=subprocess.PIPE) as worker:
        assert worker.stdout.readline() == b"True\n"
        recover_now(instance, run.run_id, settings, known)
        assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.STARTED, "it is at work"
        worker.kill()
    recover_now(instance, run.run_id, settings, known)
    assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.FAILURE
    (copy,) = instance.get_runs(dg.RunsFilter(statuses=[QUEUED]))
    assert copy.tags["elexirion/recovery_of"] == run.run_id
    lines = journal.lines(open_home(settings.home), run.run_id)
    assert [line["cause"] for line in lines if line["kind"] in ("run_finished", "recovery")] == ["worker_lost"] * 2
