import fcntl
import json
import os
import shutil

import dagster as dg
import pytest

from elexirion_dagster.errors import InputError
from elexirion_dagster.execution.workers import WORKERS, working_on
from elexirion_dagster.operations.instance import init
from elexirion_dagster.operations.launch import execute
from elexirion_dagster.operations.recoveries import listed as recoveries
from elexirion_dagster.operations.resume import resumable
from elexirion_dagster.operations.run_details import details
from elexirion_dagster.operations.runs import listed
from elexirion_dagster.recovery.recover import is_taken_over
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.journal import JournalWriter, lines
from elexirion_dagster.tags import PART_TAG, TRIGGER_TAG

FIRST = "0a0a0a0a-0000-4000-8000-000000000001"
SECOND = "0a0a0a0a-0000-4000-8000-000000000002"
THIRD = "0b0b0b0b-0000-4000-8000-000000000003"
TEXT = """
name: reads
inputs: {folder: {type: path}}
model: fake
steps:
  - {name: ask, type: llm, prompt: hello}
  - {name: look, type: command, needs: [ask], run: [cat, "{{ inputs.folder }}/wanted"]}
outputs: {answer: "{{ steps.ask.text }}", found: "{{ steps.look.text }}"}
"""


class Terminal:
    """A folder that a person works in, with one pipeline whose last step needs a file that is not there yet."""

    def __init__(self, folder, home_path):
        self.folder = folder
        self.settings = Settings(home=home_path)
        self.home = init(self.settings).home
        self.file = folder / "reads.yaml"
        self.file.write_text(TEXT, encoding="utf-8")

    def failed(self, run_id=FIRST, tags=None):
        ended = execute(self.file, {"folder": str(self.folder)}, run_id=run_id, tags=tags or {}, settings=self.settings)
        assert ended.status == "failed"

    def mend(self):
        (self.folder / "wanted").write_text("there", encoding="utf-8")

    def resumed(self, beginning=FIRST, run_id=SECOND):
        with resumable(beginning, self.settings) as found:
            return found.go_on(run_id)

    def refused(self, beginning=FIRST):
        with pytest.raises(InputError) as caught, resumable(beginning, self.settings):
            pass
        return str(caught.value)

    def instance(self):
        return dg.DagsterInstance.from_config(str(self.home.dagster))

    def journal(self, *kinds):
        return [line for line in lines(self.home, FIRST) if line["kind"] in kinds]


@pytest.fixture
def terminal(tmp_path, home_path, monkeypatch):
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return Terminal(folder, home_path)


def test_a_failed_run_goes_on_where_it_stopped_and_pays_nothing_again(terminal, tmp_path, monkeypatch):
    terminal.failed()
    terminal.mend()
    monkeypatch.chdir(tmp_path)
    finished = terminal.resumed(FIRST[:4])
    assert (finished.status, finished.outputs["found"]) == ("succeeded", "there")
    assert [line["run"] for line in terminal.journal("reply")] == [FIRST]
    with terminal.instance() as instance:
        run = instance.get_run_by_id(SECOND)
    assert (run.parent_run_id, run.root_run_id, run.tags["elexirion/root_run"]) == (FIRST, FIRST, FIRST)
    assert {line["run"]: line["trigger"] for line in terminal.journal("run_started")} == {
        FIRST: "cli",
        SECOND: "resume",
    }


def test_a_resumed_run_that_fails_again_is_resumed_by_the_id_of_either(terminal):
    terminal.failed()
    assert terminal.resumed().status == "failed"
    terminal.mend()
    assert terminal.resumed(SECOND, THIRD).status == "succeeded"
    assert [line["run"] for line in terminal.journal("reply")] == [FIRST]
    assert f"run {THIRD}, which goes on with it, has succeeded" in terminal.refused(FIRST)


def test_a_run_that_succeeded_is_not_resumed(terminal):
    terminal.mend()
    execute(terminal.file, {"folder": str(terminal.folder)}, run_id=FIRST, tags={}, settings=terminal.settings)
    assert f"run {FIRST} has succeeded" in terminal.refused()


def test_an_unknown_and_an_ambiguous_id_are_refused(terminal):
    terminal.failed()
    terminal.failed("0a0a0a0a-0000-4000-8000-000000000009")
    assert "no run has an id that begins with 'ffff'" in terminal.refused("ffff")
    assert "2 runs begin with '0a0a'" in terminal.refused("0a0a")


def test_a_pipeline_that_is_gone_or_changed_is_refused(terminal):
    terminal.failed()
    terminal.file.write_text(TEXT.replace("prompt: hello", "prompt: goodbye"), encoding="utf-8")
    assert "was changed after run" in terminal.refused()
    terminal.file.write_text("[", encoding="utf-8")
    assert "cannot be used any more" in terminal.refused()
    terminal.file.unlink()
    assert "does not exist any more" in terminal.refused()


def test_a_folder_that_is_gone_is_refused(terminal, tmp_path, monkeypatch):
    terminal.failed()
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(terminal.folder)
    assert "in which run" in terminal.refused()


def test_a_run_that_is_under_way_or_queued_is_refused(terminal):
    terminal.failed()
    with terminal.instance() as instance, working_on(terminal.home.dagster / WORKERS, SECOND):
        job = dg.GraphDefinition(name="reads").to_job(tags={"elexirion/pipeline": "reads"})
        instance.create_run_for_job(
            job, run_id=SECOND, tags={"elexirion/root_run": FIRST, "elexirion/pipeline": "reads"}
        )
        assert f"run {SECOND} is still under way" in terminal.refused()
    with terminal.instance():
        assert "waits in the queue" in terminal.refused()


def test_two_terminals_do_not_resume_one_run_at_the_same_time(terminal):
    terminal.failed()
    with resumable(FIRST, terminal.settings):
        assert "is still under way" in terminal.refused()


def test_a_part_of_a_split_run_is_refused_with_the_run_that_was_split(terminal):
    tags = {PART_TAG: "1/2", "elexirion/recovery_of": "the-split-run"}
    execute(terminal.file, {"folder": str(terminal.folder)}, run_id=FIRST, tags=tags, settings=terminal.settings)
    assert "elexirion resume the-split-run" in terminal.refused()


def decided(terminal, run_id, **plan):
    """What recovery writes down about a failed run."""
    fields = {"pipeline": "reads", "cause": "command_failed", "message": "no", "failed_at": 0.0, "reason": "a rule"}
    fields |= dict.fromkeys(("rule", "due_at", "change", "document", "max_recoveries"))
    with JournalWriter(terminal.home, root_run=FIRST, run=run_id) as journal:
        journal.append("recovery", durable=True, **fields, **plan)


def test_a_parked_run_of_the_ui_is_resumed_and_counts_as_taken_over(terminal):
    terminal.failed(tags={TRIGGER_TAG: "dagster"})
    decided(terminal, FIRST, action="park", launches=[])
    terminal.mend()
    assert terminal.resumed().status == "succeeded"
    assert len(terminal.journal("adoption")) == 1
    ((*_, state),) = recoveries(terminal.settings, limit=5).rows
    assert state == "adopted"


def test_what_a_running_up_recovers_by_itself_is_left_to_it_and_without_one_it_is_not_done_twice(terminal):
    terminal.failed(tags={TRIGGER_TAG: "dagster"})
    up = os.open(terminal.home.dagster / "up.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(up, fcntl.LOCK_EX)
    assert "recovers run" in terminal.refused()
    os.close(up)
    terminal.mend()
    assert terminal.resumed().status == "succeeded"
    (decided,) = terminal.journal("recovery")
    assert (decided["action"], decided["cause"], decided["launches"]) == ("park", "command_failed", [])


@pytest.mark.parametrize(("recoveries_so_far", "refused"), [(0, True), (1, False)], ids=["due", "failed too"])
def test_a_run_beside_up_is_resumed_once_its_recoveries_have_failed(terminal, recoveries_so_far, refused):
    terminal.failed(tags={TRIGGER_TAG: "dagster"})
    decided(terminal, FIRST, action="continue", launches=[{"key": "k", "job": "reads", "tags": {}}])
    if recoveries_so_far:
        tags = {TRIGGER_TAG: "recovery", "elexirion/recovery_of": FIRST, "elexirion/root_run": FIRST}
        terminal.failed(THIRD, tags=tags)
        decided(terminal, THIRD, action="park", launches=[])
    terminal.mend()
    up = os.open(terminal.home.dagster / "up.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(up, fcntl.LOCK_EX)
    if refused:
        assert f"recovers run {FIRST} by itself" in terminal.refused()
    else:
        assert terminal.resumed().status == "succeeded"
    os.close(up)


def test_a_recovery_that_is_due_later_is_taken_over_so_that_the_next_up_does_not_start_it(terminal):
    terminal.failed(tags={TRIGGER_TAG: "dagster"})
    decided(terminal, FIRST, action="wait", launches=[{"key": "k", "job": "reads", "tags": {}}])
    terminal.mend()
    assert not is_taken_over(terminal.home, FIRST, FIRST)
    assert terminal.resumed().status == "succeeded"
    assert [line["what"] for line in terminal.journal("adoption")] == ["wait"]
    assert is_taken_over(terminal.home, FIRST, FIRST)


def test_runs_are_listed_newest_first_and_one_is_explained(terminal):
    terminal.failed()
    terminal.mend()
    terminal.resumed()
    rows = listed(terminal.settings, status=None, pipeline="reads", limit=10)
    assert [(row.run, row.status, row.cause, row.calls) for row in rows] == [
        (SECOND, "succeeded", None, 0),
        (FIRST, "failed", "command_failed", 1),
    ]
    assert [row.run for row in listed(terminal.settings, status="failed", pipeline=None, limit=10)] == [FIRST]
    assert [row.run for row in listed(terminal.settings, status=None, pipeline=None, limit=1)] == [SECOND]
    assert listed(terminal.settings, status=None, pipeline="other", limit=10) == []
    found = details(FIRST, terminal.settings)
    assert (found.file, found.folder) == (str(terminal.file), str(terminal.folder))
    assert found.inputs == {"folder": str(terminal.folder)}
    assert {step["step"]: (step["status"], step["run"]) for step in found.steps} == {
        "ask": ("succeeded", FIRST),
        "look": ("succeeded", SECOND),
    }
    assert [(one.run, one.status) for one in found.lineage] == [(FIRST, "failed"), (SECOND, "succeeded")]
    assert found.calls["models"] == ["fake/fake"]
    assert found.next == [f"Run {SECOND} goes on with it (succeeded): elexirion show {SECOND}"]
    assert json.loads(json.dumps(details(SECOND, terminal.settings).outputs))["found"] == "there"


def test_a_run_whose_process_is_gone_is_lost_until_it_is_resumed(terminal):
    terminal.failed()
    workers = terminal.home.dagster / WORKERS
    child = os.fork()
    if child == 0:
        with working_on(workers, SECOND):
            os._exit(1)
    os.waitpid(child, 0)
    with terminal.instance() as instance:
        before = instance.get_run_by_id(FIRST)
        tags = {name: text for name, text in before.tags.items() if not name.startswith(".")}
        instance.add_run(
            dg.DagsterRun("reads", SECOND, run_config=before.run_config, tags=tags, status=dg.DagsterRunStatus.STARTED)
        )
    (row,) = listed(terminal.settings, status="lost", pipeline=None, limit=5)
    assert (row.run, row.cause) == (SECOND, "worker_lost")
    terminal.mend()
    assert terminal.resumed(SECOND, THIRD).status == "succeeded"
    assert {row.run: row.status for row in listed(terminal.settings, status=None, pipeline=None, limit=5)} == {
        FIRST: "failed",
        SECOND: "failed",
        THIRD: "succeeded",
    }
