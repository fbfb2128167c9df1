"""Which plan a failure gets."""

import time

import pytest

from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.errors import CAUSES
from elexirion_dagster.recovery.decide import handed_on
from elexirion_dagster.recovery.plan import Failed
from elexirion_dagster.recovery.recover import recover
from elexirion_dagster.run import Run, RunInfo
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.tags import CHANGE_TAG, PART_TAG, RECOVERY_TAG, ROOT_RUN_TAG

PLAIN = "steps:\n  - {name: ask, type: llm, prompt: go}\n"
EACH = """
steps:
  - name: all
    type: for_each
    items: [1, 2, 3, 4]
    max_parallel: 8
    steps: [{name: a, type: llm, prompt: "{{ item }}"}]
"""


class House:
    """Pipelines in a folder, and failures of their runs one after the other."""

    def __init__(self, folder, home_path, **settings):
        self.folder, self.count, self.root = folder, 0, "root"
        self.settings = Settings(home=home_path, **{"model": "fake", **settings})
        folder.mkdir(exist_ok=True)

    def write(self, name, text):
        (self.folder / f"{name}.yaml").write_text(f"name: {name}\n{text}", encoding="utf-8")
        return self

    @property
    def known(self):
        return {file.stem: file for file in self.folder.glob("*.yaml")}

    def fail(self, cause, pipeline="main", *, begins=True, tags=(), at_work=None, progresses=False, **inputs):
        """Fail as the run that the last plan started, or as the root run; after it journaled something new, or not."""
        run = self.root if not self.count else f"run{self.count}"
        self.count += 1
        if begins:
            from elexirion_dagster.dialects.load import load_any

            loaded = load_any(self.known[pipeline], self.known)
            Run(loaded.pipeline, RunInfo(run, self.root, inputs, dict(tags), "test"), self.settings).close()
        if progresses:
            self.journal(run, "reply", path="ask")
        failed = Failed(run, self.root, pipeline, cause, "it broke", time.time(), inputs, dict(tags), at_work)
        return recover(failed, self.settings, self.known)

    def journal(self, run, kind, **fields):
        with JournalWriter(open_home(self.settings.home), root_run=self.root, run=run) as journal:
            journal.append(kind, **fields)

    def report(self, run="root"):
        return (self.settings.home / "reports" / run / "parked.md").read_text(encoding="utf-8")


@pytest.fixture
def house(tmp_path, home_path):
    return House(tmp_path / "pipelines", home_path)


def test_the_first_rule_for_the_cause_is_taken_and_a_change_only_once(house):
    house.write(
        "main",
        PLAIN + "fallback:\n"
        "  - {on: [refused], run: other}\n"
        "  - {on: [timeout], change: {model: fake/second}}\n"
        "  - {on: [timeout], change: {max_tokens: 99}}\n",
    ).write("other", PLAIN)
    first = house.fail("timeout")
    assert (first.action, first.rule, first.change) == ("change", 1, {"model": "fake/second"})
    tags = first.launches[0].tags
    assert (tags[ROOT_RUN_TAG], tags[RECOVERY_TAG]) == ("root", "root")
    second = house.fail("timeout", tags=tags)
    assert (second.rule, second.change) == (2, {"model": "fake/second", "max_tokens": 99})
    assert second.launches[0].tags[RECOVERY_TAG] == "run1"


def test_a_run_is_started_as_its_own_pipeline_with_the_tags_it_had(house):
    house.write("main", PLAIN)
    (launch,) = house.fail("connection", tags={"team": "a", "dagster/run_key": "x", ".dagster/y": "z"}).launches
    assert launch.job == "main"
    assert launch.tags["team"] == "a"
    assert launch.tags["dagster/run_key"] == launch.key == "root:1"
    assert ".dagster/y" not in launch.tags


@pytest.mark.parametrize("cause", ["overloaded", "rate_limited", "timeout", "connection", "worker_lost"])
def test_without_a_rule_passing_causes_are_continued_within_the_bound_and_then_left_to_a_person(house, cause):
    house.write("main", PLAIN)
    tags = {}
    for _ in range(3):
        plan = house.fail(cause, tags=tags, progresses=True)
        assert plan.action == "continue"
        tags = plan.launches[0].tags
    last = house.fail(cause, tags=tags, progresses=True)
    assert (last.action, last.launches) == ("park", ())
    assert "3 of 3 recoveries are used up" in last.reason
    assert f"{cause}: continue" in house.report("run3").replace("(", "").replace(")", "")


def test_the_pauses_before_a_passing_cause_is_tried_again_grow(house):
    house.write("main", PLAIN + "limits: {max_recoveries: 20}\n")
    pauses = [house.fail("overloaded").due_at for _ in range(4)]
    assert pauses[0] is None
    assert [round(at - time.time(), -1) for at in pauses[1:]] == [10, 20, 40]


@pytest.mark.parametrize(
    "cause", sorted(set(CAUSES) - {"overloaded", "rate_limited", "timeout", "connection", "worker_lost"})
)
def test_without_a_rule_and_anything_to_change_other_causes_are_parked_with_a_report(house, cause):
    house.write("main", PLAIN)
    assert house.fail(cause).action == "park"
    assert f"**{cause}**" in house.report()
    assert "it broke" in house.report()


def test_a_cause_that_nobody_listed_is_parked(house):
    house.write("main", PLAIN)
    plan = house.fail("gremlins")
    assert (plan.action, plan.reason) == ("park", "gremlins: no known cause")


def test_recoveries_of_recoveries_count_against_the_bound_of_the_root_run(house):
    rules = "fallback: [{on: [timeout, refused, unknown], wait: true}]\n"
    house.write("main", PLAIN + rules + "limits: {max_recoveries: 2}\n")
    assert [house.fail(cause).action for cause in ("timeout", "refused", "unknown")] == ["wait", "wait", "park"]
    assert "2 of 2 recoveries are used up" in house.report("run2")


def test_no_recovery_at_all_can_be_wanted(house):
    house.write("main", PLAIN + "limits: {max_recoveries: 0}\n")
    assert house.fail("timeout").action == "park"


def test_two_pipelines_do_not_fail_into_each_other(house):
    house.write("main", PLAIN + "fallback: [{on: [refused], run: other}]\n")
    house.write("other", PLAIN + "fallback: [{on: [refused], run: main}]\n")
    first = house.fail("refused")
    assert (first.action, first.launches[0].job) == ("run", "other")
    second = house.fail("refused", "other", tags=first.launches[0].tags)
    assert second.action == "park"
    assert "circles" in second.reason


def test_a_fallback_pipeline_that_is_gone_or_does_not_fit_is_reported(house):
    house.write("main", PLAIN + "fallback: [{on: [refused], run: gone}, {on: [truncated], run: picky}]\n")
    house.write("picky", "inputs: {needed: {type: string}}\n" + PLAIN)
    assert "there is no pipeline 'gone'" in house.fail("refused").reason
    assert "needs the input needed" in house.fail("truncated").reason


def test_another_pipeline_gets_those_inputs_that_it_declares_and_the_root_runs_ceiling(house):
    house.write(
        "main",
        "budget: {usd: 1}\ninputs: {x: {type: string, default: a}, y: {type: string, default: b}}\n"
        + PLAIN
        + "fallback: [{on: [refused], run: other}]\n",
    )
    house.write("other", "inputs: {x: {type: string}}\n" + PLAIN)
    (launch,) = house.fail("refused", x="1", y="2").launches
    assert '"usd":1.0' in launch.tags["elexirion/ceiling"]
    assert CHANGE_TAG not in launch.tags


def test_another_pipeline_gets_what_the_failed_run_worked_with_defaults_included_where_it_accepts_it():
    main = load_string(
        "name: main\ninputs: {x: {type: string, default: a}, y: {type: integer, default: 1},"
        " z: {type: string, default: c}}\n" + PLAIN
    ).pipeline
    other = load_string(
        "name: other\ninputs: {x: {type: string}, y: {type: string, default: b}, z: {type: string}}\n" + PLAIN
    ).pipeline
    assert handed_on(main, other, {"z": "given"}) == {"x": "a", "z": "given"}


def test_a_pipeline_changed_since_the_run_began_is_reported_and_not_guessed(house):
    house.write("main", PLAIN)
    house.fail("bad_input")
    house.write("main", PLAIN.replace("go", "stop"))
    failed = Failed("root2", "root", "main", "timeout", None, time.time(), {}, {})
    with JournalWriter(open_home(house.settings.home), root_run="root", run="root2") as journal:
        journal.append("run_started", pipeline="main", pipeline_hash="0" * 64)
    assert "was changed since the run began" in recover(failed, house.settings, house.known).reason


def test_a_pipeline_that_is_gone_or_broken_is_reported(house):
    house.write("main", PLAIN)
    (house.folder / "main.yaml").write_text("name: [", encoding="utf-8")
    assert "cannot be used any more" in house.fail("timeout", begins=False).reason
    (house.folder / "main.yaml").unlink()
    assert "there is no pipeline 'main'" in house.fail("timeout", begins=False).reason


def test_a_worker_that_died_before_it_began_is_continued(house):
    house.write("main", PLAIN)
    assert house.fail("worker_lost", begins=False).action == "continue"


def test_a_split_makes_halves_of_halves(house):
    house.write("main", EACH + "limits: {max_recoveries: 6}\nfallback: [{on: [timeout], split: true}]\n")
    first = house.fail("timeout")
    assert [launch.tags[PART_TAG] for launch in first.launches] == ["1/2", "2/2"]
    assert len({launch.key for launch in first.launches}) == 2
    second = house.fail("timeout", tags=first.launches[1].tags)
    assert [launch.tags[PART_TAG] for launch in second.launches] == ["3/4", "4/4"]


def test_only_items_that_are_being_worked_on_are_split(house):
    rules = "fallback: [{on: [timeout], split: true}, {on: [timeout], park: true}]\n"
    house.write("main", EACH + "  - {name: sum, type: llm, prompt: go}\n" + rules)
    assert house.fail("timeout", at_work=frozenset({"sum"})).action == "park"
    assert house.fail("timeout", at_work=frozenset()).action == "park"
    assert house.fail("timeout", at_work=frozenset({"all"})).action == "split"


@pytest.mark.parametrize(("hint_s", "pause_s"), [(None, 10), (42.0, 42), (1e6, 900), (0.0, 0)])
def test_waiting_follows_the_servers_hint_within_bounds(house, hint_s, pause_s):
    house.write("main", PLAIN + "fallback: [{on: [rate_limited], wait: true}]\n")
    with JournalWriter(open_home(house.settings.home), root_run="root", run="root") as journal:
        journal.append("call_failed", call_id="1", path="ask", retry_after_s=hint_s)
    plan = house.fail("rate_limited")
    assert plan.due_at - time.time() == pytest.approx(pause_s, abs=5)


def test_asked_again_about_the_same_run_the_plan_is_the_same_and_stands_once_in_the_journal(house):
    house.write("main", PLAIN + "fallback: [{on: [timeout], wait: true}]\n")
    plan = house.fail("timeout")
    failed = Failed("root", "root", "main", "timeout", None, time.time(), {}, {})
    assert recover(failed, house.settings, house.known) == plan
    home = open_home(house.settings.home)
    texts = [file.read_text(encoding="utf-8") for file in home.journal.glob("root/*.jsonl")]
    assert sum(text.count('"kind":"recovery"') for text in texts) == 1


def test_inputs_of_a_failed_run_are_not_in_its_decision(house):
    house.write("main", "inputs: {x: {type: string, default: a}}\n" + PLAIN)
    house.fail("timeout", begins=False, x="very-private")
    texts = [file.read_text(encoding="utf-8") for file in (house.settings.home / "journal").glob("root/*.jsonl")]
    assert "very-private" not in "".join(texts)
