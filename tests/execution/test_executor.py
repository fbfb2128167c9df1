import json
from pathlib import Path

import dagster as dg
import executor_jobs as jobs
import pytest
from dagster._core.execution.api import ReexecutionOptions, execute_run_iterator

from elexirion_dagster.compiler.ends import how_it_ended
from elexirion_dagster.execution import workers
from elexirion_dagster.execution.executor import is_of_terminal

pytestmark = pytest.mark.slow


@pytest.fixture
def instance(tmp_path):
    with dg.instance_for_test(temp_dir=str(tmp_path), overrides={"telemetry": {"enabled": False}}) as instance:
        yield instance


@pytest.fixture
def run(instance, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    jobs.reset()
    return lambda job, **options: dg.execute_job(dg.reconstructable(job), instance, **options)


def ended(result, kind):
    """The ops that an event of this kind was written for, in order."""
    return [event.step_key for event in result.all_events if event.event_type == kind]


def value(result, op):
    """The output of an op; a result reads outputs only as a context manager, which opens the job's resources again."""
    with result:
        return result.output_for_node(op)


def test_independent_ops_run_at_the_same_time(run):
    result = run(jobs.overlap)
    assert result.success
    assert ended(result, dg.DagsterEventType.STEP_SUCCESS)[0] == "source"


def test_an_op_is_retried_as_its_policy_says_and_its_dependants_wait_for_it(run):
    result = run(jobs.retrying)
    assert result.success
    assert jobs.calls == {"flaky": 3, "source": 1, "add": 1}
    assert ended(result, dg.DagsterEventType.STEP_UP_FOR_RETRY) == ["flaky", "flaky"]
    assert ended(result, dg.DagsterEventType.STEP_RESTARTED) == ["flaky", "flaky"]


def test_an_op_that_used_up_its_retries_fails_the_run(run):
    result = run(jobs.exhausted)
    assert not result.success
    assert jobs.calls["hopeless"] == 2


def test_a_due_retry_begins_while_another_op_still_runs(run):
    assert run(jobs.waking).success


def test_a_failure_stops_its_dependants_and_lets_independent_ops_finish(run):
    result = run(jobs.failing)
    assert not result.success
    assert ended(result, dg.DagsterEventType.STEP_FAILURE) == ["boom"]
    assert set(ended(result, dg.DagsterEventType.STEP_SUCCESS)) == {"source", "fine", "after_fine"}
    assert jobs.calls["add"] == 0


def test_the_cause_of_a_failed_op_is_found_in_the_event_log(run, instance):
    result = run(jobs.failing)
    assert how_it_ended(instance, result.dagster_run) == ("failed", "command_failed", "broken")


def test_reexecution_from_failure_runs_only_what_is_missing_on_the_values_that_are_there(run, instance, tmp_path):
    first = run(jobs.failing)
    (tmp_path / "mended").touch()
    second = run(jobs.failing, reexecution_options=ReexecutionOptions.from_failure(first.run_id, instance))
    assert second.success
    assert value(second, "join") == 43
    assert set(ended(second, dg.DagsterEventType.STEP_SUCCESS)) == {"boom", "after_boom", "join"}
    assert (jobs.calls["source"], jobs.calls["fine"]) == (1, 1)


def test_values_lie_on_the_disk_as_json(run, instance):
    result = run(jobs.failing)
    folder = f"{instance.storage_directory()}/{result.run_id}"
    with open(f"{folder}/fine/result.json", encoding="utf-8") as file:  # noqa: PTH123 - the path is Dagster's text
        assert json.load(file) == 22


def test_an_output_that_is_not_there_skips_its_dependants_and_a_fan_in_takes_the_rest(run):
    result = run(jobs.choosing)
    assert result.success
    assert ended(result, dg.DagsterEventType.STEP_SKIPPED) == ["on_no"]
    assert value(result, "total") == 1


def test_dynamic_outputs_are_mapped_and_collected(run):
    assert value(run(jobs.mapping), "total") == 3


def test_no_more_ops_run_at_once_than_the_executor_allows(run):
    assert run(jobs.crowded).success
    assert jobs.busy["peak"] == 2


def test_a_pool_of_one_lets_one_op_run_at_a_time(run, instance):
    instance.event_log_storage.set_concurrency_slots("one_at_a_time", 1)
    assert run(jobs.with_pool).success
    assert jobs.busy["peak"] == 1


def test_hooks_are_called_for_successes_and_failures(run):
    run(jobs.hooked)
    assert jobs.calls["success:source"] == 1
    assert jobs.calls["failure:boom"] == 1


def test_a_resource_that_cannot_be_opened_fails_the_run_and_says_why(run, instance):
    result = run(jobs.unopened)
    status, cause, message = how_it_ended(instance, result.dagster_run)
    assert (status, cause) == ("failed", "unknown")
    assert "no such home" in message
    assert jobs.calls["idle"] == 0


def test_what_is_under_way_is_ended_when_nobody_takes_the_events_any_more(instance):
    jobs.reset()
    job = dg.reconstructable(jobs.abandoned)
    run = instance.create_run_for_job(jobs.abandoned, job_code_origin=job.get_python_origin())
    events = execute_run_iterator(job, run, instance)
    next(event for event in events if event.event_type is dg.DagsterEventType.STEP_START)
    events.close()
    assert jobs.Hold.current.cancelled.is_set()
    assert jobs.Hold.current.closed


def test_a_run_that_is_marked_for_cancelling_elsewhere_ends_as_cancelled(run, instance):
    result = run(jobs.marked)
    ended_run = instance.get_run_by_id(result.run_id)
    assert ended_run.status is dg.DagsterRunStatus.CANCELED
    assert jobs.Hold.current.closed


def test_a_run_belongs_to_the_terminal_that_claimed_it(instance):
    folder = Path(instance.root_directory) / workers.WORKERS
    assert not is_of_terminal(instance, "one")
    with workers.working_on(folder, "one"):
        assert is_of_terminal(instance, "one")
    workers.leave(folder, "one")  # a re-execution of it in the UI
    assert not is_of_terminal(instance, "one")
    with dg.DagsterInstance.ephemeral() as elsewhere:
        assert not is_of_terminal(elsewhere, "one")
