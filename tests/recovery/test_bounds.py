"""How often a root run is recovered: what counts, and what a worker that dies each time comes to."""

import time

import pytest

from elexirion_dagster.recovery.bounds import MOST_LOSSES, loss_pause_s
from elexirion_dagster.recovery.plan import Failed
from elexirion_dagster.recovery.recover import recover
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.failures.recoveries import past
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.journal import JournalWriter

PIPELINE = "name: main\nsteps:\n- {name: ask, type: llm, prompt: go}\n"
NEW = [
    ("reply", {"path": "ask"}),
    ("tool", {"path": "ask"}),
    ("scanned", {"path": "ask"}),
    ("outputs", {"outputs": {}}),
    ("step", {"path": "ask", "step": "ask", "step_type": "llm", "status": "succeeded"}),
    ("step", {"path": 'each["\\"status\\":\\"failed\\""]', "step": "a", "step_type": "set", "status": "skipped"}),
]
NOT_NEW = [
    ("run_started", {"pipeline": "main", "pipeline_hash": "0", "recovery_of": None}),
    ("pin", {"name": "x", "value": 1}),
    ("intent", {"path": "ask"}),
    ("call_failed", {"path": "ask"}),
    ("progress", {"path": "ask"}),
    ("step", {"path": 'each["\\"status\\":\\"succeeded\\""]', "step": "a", "step_type": "set", "status": "failed"}),
    ("run_finished", {"status": "failed"}),
]


class Root:
    """The runs of one root run that fail one after the other."""

    def __init__(self, folder, home_path, text):
        folder.mkdir()
        file = folder / "main.yaml"
        file.write_text(text, encoding="utf-8")
        self.known = {"main": file}
        self.settings = Settings(home=home_path, model="fake")
        self.home = open_home(home_path)
        self.plans, self.tags = [], {}

    def journal(self, run, kind, **fields):
        with JournalWriter(self.home, root_run="root", run=run) as journal:
            journal.append(kind, **fields)

    def fail(self, cause, *lines):
        run = f"run{len(self.plans)}" if self.plans else "root"
        for kind, fields in lines:
            self.journal(run, kind, **fields)
        failed = Failed(run, "root", "main", cause, "it broke", time.time(), {}, self.tags)
        plan = recover(failed, self.settings, self.known)
        self.plans.append(plan)
        if plan.launches:
            self.tags = dict(plan.launches[0].tags)
        return plan


@pytest.fixture
def root(tmp_path, home_path):
    def make(text=PIPELINE):
        return Root(tmp_path / "pipelines", home_path, text)

    return make


@pytest.mark.parametrize(("kind", "fields"), NEW)
def test_a_run_made_progress_when_it_journaled_something_new(root, kind, fields):
    one = root()
    one.journal("run1", kind, **fields)
    assert past(one.home, "root").progressed == {"run1"}


@pytest.mark.parametrize(("kind", "fields"), [line for line in NOT_NEW if line[0] != "call_failed"])
def test_what_a_run_only_began_or_failed_at_is_no_progress(root, kind, fields):
    one = root()
    one.journal("run1", kind, **fields)
    assert past(one.home, "root").progressed == frozenset()


def test_a_line_that_was_torn_is_no_progress(root):
    one = root()
    one.journal("run1", "reply", path="ask")
    (file,) = one.home.journal.glob("root/*.jsonl")
    file.write_bytes(file.read_bytes()[:-1])
    assert past(one.home, "root").progressed == frozenset()


def test_recoveries_that_were_lost_before_they_did_anything_do_not_count(root):
    one = root()
    one.fail("worker_lost", NEW[0])
    for _ in range(MOST_LOSSES - 1):
        assert one.fail("worker_lost").launches
    assert one.fail("worker_lost", NEW[0]).launches, "nine that did nothing and one that did: one of three is used"
    assert one.fail("connection").launches
    last = one.fail("connection")
    assert "3 of 3 recoveries are used up" in last.reason


def test_a_recovery_that_failed_by_itself_counts_though_it_finished_nothing(root):
    one = root(PIPELINE + "fallback: [{on: [bad_input], wait: true}]\n")
    actions = [one.fail("bad_input").action for _ in range(4)]
    assert actions == ["wait", "wait", "wait", "park"]


def test_a_run_that_kills_its_worker_each_time_ends_parked_with_a_report_that_says_so(root):
    one = root()
    plans = [one.fail("worker_lost") for _ in range(MOST_LOSSES)]
    assert [bool(plan.launches) for plan in plans] == [True] * (MOST_LOSSES - 1) + [False]
    pauses = [(plan.due_at or time.time()) - time.time() for plan in plans[:-1]]
    assert [round(pause) for pause in pauses] == [loss_pause_s(losses) for losses in range(1, MOST_LOSSES)]
    report = (one.home.path / "reports" / f"run{MOST_LOSSES - 1}" / "parked.md").read_text(encoding="utf-8")
    assert f"{MOST_LOSSES} workers in a row died before anything new was in the journal" in report
    assert "memory" in report


def test_the_pause_after_losses_grows_up_to_a_minute():
    assert [loss_pause_s(losses) for losses in (0, 1, 2, 3, 4, 5, 6, 60)] == [0, 0, 5, 10, 20, 40, 60, 60]


def test_rules_of_the_pipeline_are_bounded_by_losses_too(root):
    one = root(PIPELINE + "limits: {max_recoveries: 20}\nfallback: [{on: [worker_lost], wait: true}]\n")
    assert [one.fail("worker_lost").action for _ in range(MOST_LOSSES)] == ["wait"] * (MOST_LOSSES - 1) + ["park"]


def test_where_recovery_is_switched_off_a_lost_worker_is_not_recovered(root):
    assert root(PIPELINE + "limits: {max_recoveries: 0}\n").fail("worker_lost").action == "park"


def test_tags_that_lead_in_circles_end_somewhere(root):
    one = root()
    one.tags = {"elexirion/recovery_of": "root"}
    assert one.fail("worker_lost").launches


def test_lines_of_before_count_as_they_did(root):
    one = root()
    old = {"pipeline": "main", "cause": "worker_lost", "message": None, "failed_at": 0.0, "action": "continue"}
    old |= {"reason": "r", "rule": None, "due_at": None, "change": None, "document": None, "max_recoveries": 1}
    one.journal("root", "recovery", **old, launches=[{"key": "root:1", "job": "main", "tags": {}}])
    one.plans.append(None)
    assert one.fail("connection").action == "park"
