"""The sensor over a real instance, tick by tick, and the job that runs derived documents."""

import json
import threading
import time
import uuid

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, DagsterEventType

from elexirion_dagster.compiler.derived_job import recover_job
from elexirion_dagster.compiler.recovery import recovery_sensor
from elexirion_dagster.definitions import write_report
from elexirion_dagster.dialects.load import load_any
from elexirion_dagster.execution.executor import thread_executor
from elexirion_dagster.recovery.candidates import candidate_file
from elexirion_dagster.run import Run, RunInfo
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.tags import ROOT_RUN_TAG

PLAIN = "name: plain\nsteps:\n- {name: a, type: llm, prompt: go}\n"
WAITS = "name: waits\nsteps:\n- {name: a, type: set, vars: {x: 1}}\nfallback:\n- {on: [worker_lost], wait: true}\n"

HALVES = """
name: halves
steps:
- name: each
  type: for_each
  items: [1, 2]
  steps: [{name: a, type: set, vars: {x: 1}}]
limits: {max_recoveries: 9}
fallback:
- {on: [worker_lost], split: true}
"""


@pytest.fixture
def known(tmp_path):
    files = {name: tmp_path / f"{name}.yaml" for name in ("plain", "waits", "halves")}
    files["halves"].write_text(HALVES, encoding="utf-8")
    files["plain"].write_text(PLAIN, encoding="utf-8")
    files["waits"].write_text(WAITS, encoding="utf-8")
    return lambda: files


@pytest.fixture
def settings(home_path, environ):
    return Settings.from_env({**environ, "ELEXIRION_HOME": str(home_path), "ELEXIRION_MODEL": "fake"})


@pytest.fixture
def sensor(settings, known):
    @dg.op
    def nothing(): ...

    @dg.job
    def plain():
        nothing()

    @dg.job
    def waits():
        nothing()

    @dg.job
    def halves():
        nothing()

    return recovery_sensor(settings, known, [plain, waits, halves], watch_s=0)


@pytest.fixture
def lost(instance):
    """Lose the worker of a new run."""

    def lose(pipeline="plain", **tags):
        run_id = str(uuid.uuid4())
        tags = {"elexirion/pipeline": pipeline, **{f"elexirion/{name}": value for name, value in tags.items()}}
        instance.add_run(dg.DagsterRun(pipeline, run_id, status=dg.DagsterRunStatus.STARTED, tags=tags))
        instance.report_run_failed(instance.get_run_by_id(run_id), "its worker ended unexpectedly")
        return run_id

    return lose


@pytest.fixture
def tick(instance, sensor):
    def evaluate(cursor=None):
        with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
            said = sensor.evaluate_tick(context)
        return said.cursor, said.run_requests or []

    return evaluate


def test_it_begins_with_the_failures_from_now_on_and_takes_a_burst_in_one_tick(tick, lost):
    lost()
    cursor, requests = tick()
    assert requests == []
    runs = [lost() for _ in range(50)]
    cursor, requests = tick(cursor)
    assert [request.run_key for request in requests] == [f"{run}:1" for run in runs]
    assert {request.tags["elexirion/recovery_of"] for request in requests} == set(runs)
    assert tick(cursor)[1] == []


def test_a_run_that_two_processes_failed_at_the_same_moment_is_recovered_once(tick, lost, instance):
    cursor, _ = tick()
    run = lost()
    instance.report_run_failed(instance.get_run_by_id(run), "its worker ended unexpectedly")
    assert [request.run_key for request in tick(cursor)[1]] == [f"{run}:1"]


def test_a_daemon_that_died_before_it_kept_the_cursor_asks_for_the_same_runs_again(tick, lost):
    cursor, _ = tick()
    lost()
    first, second = tick(cursor), tick(cursor)
    assert [request.run_key for request in first[1]] == [request.run_key for request in second[1]]


def test_runs_of_others_and_those_in_a_terminal_are_left_alone(tick, lost, instance):
    cursor, _ = tick()
    lost(trigger="cli")
    instance.add_run(dg.DagsterRun("foreign", run_id := str(uuid.uuid4()), status=dg.DagsterRunStatus.STARTED))
    instance.report_run_failed(instance.get_run_by_id(run_id), "lost")
    assert tick(cursor)[1] == []


def test_a_run_that_waits_is_started_when_it_is_due_and_not_before(tick, lost, home_path):
    cursor, _ = tick()
    run = lost("waits")
    cursor, requests = tick(cursor)
    assert requests == []
    kept = json.loads(cursor)
    assert list(kept["waiting"]) == [run]
    assert tick(cursor)[1] == []
    (file,) = home_path.glob(f"journal/{run}/*.jsonl")
    due = str(kept["waiting"][run])
    file.write_text(file.read_text(encoding="utf-8").replace(due, str(time.time() - 1)), encoding="utf-8")
    cursor, requests = tick(json.dumps({**kept, "waiting": {run: time.time() - 1}}))
    assert [request.run_key for request in requests] == [f"{run}:1"]
    assert json.loads(cursor)["waiting"] == {}


def test_a_clock_that_was_set_back_does_not_prolong_a_wait(tick, lost, home_path):
    cursor, _ = tick()
    run = lost("waits")
    cursor, _ = tick(cursor)
    kept = json.loads(cursor)
    (file,) = home_path.glob(f"journal/{run}/*.jsonl")
    later = time.time() + 86_400
    text = file.read_text(encoding="utf-8").replace(str(kept["waiting"][run]), str(later))
    file.write_text(text, encoding="utf-8")
    _, requests = tick(json.dumps({**kept, "waiting": {run: later}}))
    assert [request.run_key for request in requests] == [f"{run}:1"]


def test_a_failure_that_a_full_disk_kept_from_being_decided_is_decided_later(tick, lost, home_path):
    cursor, _ = tick()
    run = lost()
    journal = home_path / "journal" / run
    journal.parent.mkdir(exist_ok=True)
    journal.write_text("in the way", encoding="utf-8")
    cursor, requests = tick(cursor)
    kept = json.loads(cursor)
    assert (requests, list(kept["waiting"])) == ([], [run])
    journal.unlink()
    _, requests = tick(json.dumps({**kept, "waiting": {run: time.time() - 1}}))
    assert [request.run_key for request in requests] == [f"{run}:1"]


def test_a_pipeline_that_dagster_has_not_loaded_is_reported_and_holds_up_nobody(tick, lost, known, home_path):
    known()["new"] = known()["plain"].with_name("new.yaml")
    known()["new"].write_text(PLAIN.replace("name: plain", "name: new"), encoding="utf-8")
    cursor, _ = tick()
    new, good = lost("new"), lost()
    assert [request.run_key for request in tick(cursor)[1]] == [f"{good}:1"]
    assert "is not loaded in Dagster" in (home_path / "reports" / new / "parked.md").read_text(encoding="utf-8")


def test_one_run_whose_tags_cannot_be_used_does_not_hold_up_the_others(tick, lost):
    cursor, _ = tick()
    lost(root_run="../x")
    good = lost()
    assert [request.run_key for request in tick(cursor)[1]] == [f"{good}:1"]


@pytest.fixture
def derived(settings, known, instance):
    """Run the generic job for a failed run, in this process."""

    def run(of, root):
        job = recover_job(settings, known, thread_executor, write_report)
        return job.execute_in_process(
            run_config={"ops": {"derived": {"config": {"of": of, "inputs": {}}}}},
            tags={"elexirion/root_run": root, "elexirion/pipeline": "plain"},
            instance=instance,
            raise_on_error=False,
        )

    return run


def test_the_generic_job_refuses_what_was_not_derived_from_a_known_run(derived, settings):
    home = open_home(settings.home)
    home.recoveries.mkdir()
    candidate_file(home, "nobody").write_text(PLAIN, encoding="utf-8")
    done = derived("nobody", "nobody")
    assert not done.success
    (failure,) = done.filter_events(lambda event: event.is_step_failure)
    assert failure.step_failure_data.user_failure_data.metadata["cause"].value == "bad_input"


def test_the_generic_job_runs_the_document_that_was_derived_and_continues_the_root_run(derived, settings, known):
    known()["plain"].write_text(PLAIN.replace("prompt: go", "prompt: go, samples: 3"), encoding="utf-8")
    home = open_home(settings.home)
    from elexirion_dagster.recovery.plan import Failed
    from elexirion_dagster.recovery.recover import recover

    plan = recover(Failed("r1", "r1", "plain", "context_exceeded", None, 0.0, {}, {}), settings, known())
    assert plan.action == "derive"
    assert derived("r1", "r1").success
    lines = [json.loads(line) for file in home.journal.glob("r1/*.jsonl") for line in file.read_text().splitlines()]
    assert len([line for line in lines if line["kind"] == "reply"]) == 1, "one sample in place of three"
    assert [line["recovery_of"] for line in lines if line["kind"] == "run_started"] == ["r1"]


def test_recovering_runs_unasked(sensor):
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING


@pytest.fixture
def ended(instance, home_path):
    """Let a run that was asked for end well, or lose its worker."""

    def end(request, *, well=True):
        run_id = str(uuid.uuid4())
        tags = {**request.tags, "dagster/run_key": request.run_key}
        instance.add_run(dg.DagsterRun(request.job_name, run_id, status=dg.DagsterRunStatus.STARTED, tags=tags))
        run = instance.get_run_by_id(run_id)
        if well:
            event = DagsterEvent(DagsterEventType.RUN_SUCCESS.value, request.job_name, message="done")
            instance.report_dagster_event(event, run_id)
        else:
            begin(instance, run_id, request.job_name)
            with JournalWriter(open_home(home_path), root_run=tags.get(ROOT_RUN_TAG, run_id), run=run_id) as journal:
                journal.append("tool", path="each")  # it did something, so that nothing is paused
            instance.report_run_failed(run, "its worker ended unexpectedly")
        return run_id

    return end


def begin(instance, run_id, job):
    """Let the step with the items begin."""
    event = DagsterEvent(DagsterEventType.STEP_START.value, job, step_key="each", message="begins")
    instance.report_dagster_event(event, run_id)


def test_when_the_last_part_of_a_split_run_is_done_one_run_puts_them_together(tick, ended):
    cursor, _ = tick()
    root = ended(dg.RunRequest(run_key="x", job_name="halves", tags={"elexirion/pipeline": "halves"}), well=False)
    cursor, (first, second) = tick(cursor)
    ended(first)
    assert tick(cursor)[1] == []
    ended(second, well=False)
    cursor, (third, fourth) = tick(cursor)
    assert [one.tags["elexirion/part"] for one in (third, fourth)] == ["3/4", "4/4"]
    ended(fourth)
    ended(third)
    cursor, (whole,) = tick(cursor)
    assert (whole.run_key, whole.job_name) == (f"{root}:whole", "halves")
    assert "elexirion/part" not in whole.tags
    assert (whole.tags["elexirion/root_run"], whole.tags["elexirion/recovery_of"]) == (root, root)
    ended(whole)
    assert tick(cursor)[1] == []


def test_parts_of_a_pipeline_that_was_changed_meanwhile_are_not_put_together(tick, ended, known, settings):
    cursor, _ = tick()
    root = ended(dg.RunRequest(run_key="x", job_name="halves", tags={"elexirion/pipeline": "halves"}), well=False)
    loaded = load_any(known()["halves"])
    Run(loaded.pipeline, RunInfo(root, root, {}, {}, "test"), settings).close()
    cursor, halves = tick(cursor)
    for half in halves:
        ended(half)
    known()["halves"].write_text(HALVES.replace("x: 1", "x: 2"), encoding="utf-8")
    assert tick(cursor)[1] == []
    assert "was changed since" in (settings.home / "reports" / root / "parked.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "tags", [{"part": "1/1", "root_run": "gone", "recovery_of": "gone"}, {"part": "x", "root_run": "../up"}]
)
def test_parts_whose_tags_lead_nowhere_are_nobodys_and_hold_nothing_up(tick, ended, lost, tags):
    cursor, _ = tick()
    tags = {"elexirion/pipeline": "halves", **{f"elexirion/{name}": value for name, value in tags.items()}}
    ended(dg.RunRequest(run_key="x", job_name="halves", tags=tags))
    run = lost()
    assert [request.run_key for request in tick(cursor)[1]] == [f"{run}:1"]


def test_a_cursor_of_before_is_understood(tick, lost):
    cursor, _ = tick()
    old = {name: value for name, value in json.loads(cursor).items() if name != "ended"}
    run = lost()
    assert [request.run_key for request in tick(json.dumps(old))[1]] == [f"{run}:1"]


def test_a_tick_that_finds_nothing_goes_on_looking(settings, known, instance, lost):
    sensor = recovery_sensor(settings, known, [dg.JobDefinition(name="plain", graph_def=dg.GraphDefinition("plain"))])
    with dg.build_sensor_context(instance=instance, cursor='{"after": 0, "ended": 0}') as context:
        later = threading.Timer(1.0, lost)
        later.start()
        said = sensor.evaluate_tick(context)
        later.join()
    assert len(said.run_requests) == 1


def test_a_recovery_gets_masks_in_place_of_the_secrets_of_a_run_that_was_stored_with_them(tick, instance, home_path):
    secret, files = "shpat_" + "0123456789abcdef" * 2, {"files": ["AKIA" + "ABCDEFGH12345678"]}
    cursor, _ = tick()
    for scan in ({}, {"elexirion/scan": "digest"}):
        run_id, tags = str(uuid.uuid4()), {"elexirion/pipeline": "plain", **scan}
        config = {"x": {"y": [secret]}, "batch": files}
        run = dg.DagsterRun("plain", run_id, run_config=config, status=dg.DagsterRunStatus.STARTED, tags=tags)
        instance.add_run(run)
        instance.report_run_failed(instance.get_run_by_id(run_id), f"its worker ended with {secret}")
    cursor, requests = tick(cursor)
    assert [request.run_config["x"] for request in requests] == [{"y": ["[redacted:shopify_token]"]}] * 2
    # The batch of a scan names files as they are.
    assert [request.run_config["batch"] == files for request in requests] == [False, True]
    assert not [file for file in home_path.glob("journal/**/*.jsonl") if secret in file.read_text("utf-8")]
