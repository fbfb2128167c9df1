"""Versions at work on a scripted model, and what the sensor makes of their outcomes."""

import json
import sys

import dagster as dg
import pytest

from elexirion_dagster.compiler.prompts import prompts_sensor
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.fake import Rule
from elexirion_dagster.store.database import ingest
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.registry.promotions import pin, promote, try_out
from elexirion_dagster.store.registry.prompts import pointer, save, slot_hash

SORT = """
inputs: {count: {type: integer}, from: {type: integer, default: 0}}
steps:
  - name: each
    type: for_each
    items: "{{ range(inputs.from, inputs.from + inputs.count) | list }}"
    key: "item{{ n }}"
    as: n
    on_error: collect
    continue_on_error: true
    steps:
      - {name: ask, type: llm, system: Sort it., prompt: "{{ n }}", output: {kind: {enum: [bug, wish]}}}
"""
RULES = (
    Rule(match="Sort it in verse.", text="It is a bug, I deem."),
    Rule(match="Sort it, please.", data={"kind": "wish"}),
    Rule(match="Sort it.", data={"kind": "bug"}),
)
SLOT = ("rehearsed", "each.ask")
BAD, GOOD = "Sort it in verse.", "Sort it, please."
BY = {"why": "tried", "by": "optimizer"}


@pytest.fixture
def home(home_path):
    return open_home(home_path)


@pytest.fixture
def saved(home):
    def save_one(system):
        base = slot_hash("Sort it.", [])
        texts = {"system": system, "examples": [], "scores": {}, "parent": None, "model": None}
        return save(home, *SLOT, base_hash=base, **texts).hash

    return save_one


@pytest.fixture
def work(start):
    """Let the pipeline sort so many items; no item comes twice."""
    done = [0]

    def run(count, rules=RULES, text=SORT):
        rehearsed = start(text, rules=rules, count=count, **{"from": done[0]})
        done[0] += count
        rehearsed.all()
        rehearsed.run.close()

    return run


@pytest.fixture
def tick(instance, settings, tmp_path):
    told = tmp_path / "told"
    script = tmp_path / "tell.py"
    script.write_text(f"import sys; open({str(told)!r}, 'a').write(sys.stdin.read() + chr(10))", encoding="utf-8")
    sensor = prompts_sensor(settings.model_copy(update={"alert": f"{sys.executable} {script}"}))

    def evaluate(cursor=None):
        ingest(open_home(settings.home))
        with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
            said = sensor.evaluate_tick(context)
        lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
        return said.skip_message, [json.loads(line) for line in lines], said.cursor

    return evaluate


def test_a_bad_version_is_rolled_back_when_its_outcomes_come_in_and_everybody_is_told(tick, work, saved, home):
    work(40)
    bad = saved(BAD)
    promote(home, *SLOT, bad, **BY)
    work(3)
    said, told, _ = tick()
    assert "goes on" in said
    assert "0 of 3 answers good since it was promoted; before, with yaml:" in said
    assert told == []
    work(10)
    said, told, cursor = tick()
    assert "rolled back" in said
    now = pointer(home, *SLOT)
    assert (now.hash, now.history[-1].what, now.history[-1].by) == (None, "rollback", "watch")
    assert "0 of 13 answers good" in now.history[-1].why
    assert "alpha 0.05" in now.history[-1].why
    assert [(one["event"], one["slot"], one["what"], one["version"]) for one in told] == [
        ("prompt_changed", "rehearsed/each.ask", "rollback", bad)
    ]
    assert tick(cursor)[0] == "no new outcomes"
    work(10)
    assert tick(cursor)[:2] == ("no version is on trial or newly promoted", told)


def test_a_version_that_is_as_good_stays(tick, work, saved, home):
    work(60)
    good = saved(GOOD)
    promote(home, *SLOT, good, **BY)
    work(60)
    assert "goes on" in tick()[0]
    assert pointer(home, *SLOT).hash == good


def test_a_version_whose_answers_fit_but_are_scored_lower_is_rolled_back(tick, work, saved, home):
    scored = SORT + """score: {right: {of: each.ask, value: "{{ steps.ask.data.kind == 'bug' }}"}}"""
    work(40, text=scored)
    promote(home, *SLOT, saved(GOOD), **BY)
    work(20, text=scored)
    said, *_ = tick()
    assert "rolled back" in said
    assert "20 of 20 answers good, scored 0.00 on average of 20 since it was promoted" in said


def test_an_item_that_is_asked_the_same_again_counts_once(tick, work, start, saved, home):
    work(40)
    promote(home, *SLOT, saved(GOOD), **BY)
    for _ in range(3):
        rehearsed = start(SORT, rules=RULES, count=10)
        rehearsed.all()
    assert "10 of 10 answers good since it was promoted" in tick()[0]


@pytest.mark.slow
def test_failures_of_the_provider_are_not_the_prompts(tick, work, saved, home):
    work(40)
    promote(home, *SLOT, saved(GOOD), **BY)
    work(40, [Rule(error=ProviderError("down", cause="overloaded"))])
    said, *_ = tick()
    assert "goes on" in said
    assert "0 of 0 answers good since" in said


def test_a_call_that_the_model_refuses_counts_against_the_version(tick, work, saved, home):
    work(40)
    promote(home, *SLOT, saved(GOOD), **BY)
    work(12, [Rule(error=ProviderError("no", cause="refused"))])
    assert "rolled back" in tick()[0]


def test_a_bad_canary_is_stopped_and_the_version_in_use_stays(tick, work, saved, home):
    good = saved(GOOD)
    promote(home, *SLOT, good, **BY)
    try_out(home, *SLOT, saved(BAD), 0.3, **BY)
    work(60)
    said, told, _ = tick()
    assert "was stopped" in said
    now = pointer(home, *SLOT)
    assert (now.hash, now.canary, now.history[-1].what) == (good, None, "stop")
    assert told[0]["what"] == "stop"


def test_a_canary_that_has_proved_to_be_no_worse_is_promoted_after_enough_rows(tick, work, saved, home):
    good = saved(GOOD)
    try_out(home, *SLOT, good, 0.5, **BY)
    work(60)
    assert "on at least 50 answers" in tick()[0]
    assert pointer(home, *SLOT).hash is None
    work(180)
    said, told, _ = tick()
    assert "was promoted" in said
    now = pointer(home, *SLOT)
    assert (now.hash, now.canary, now.history[-1].by) == (good, None, "watch")
    assert "not worse by 10%" in now.history[-1].why
    assert told[0]["what"] == "promote"


def test_a_pinned_slot_is_left_alone(tick, work, saved, home):
    work(40)
    bad = saved(BAD)
    promote(home, *SLOT, bad, **BY)
    pin(home, *SLOT, why="mine", by="person")
    work(20)
    assert tick()[0] == "rehearsed/each.ask is pinned and left alone"
    assert pointer(home, *SLOT).hash == bad


def test_a_damaged_slot_is_told_and_does_not_hold_up_the_others(tick, work, saved, home):
    work(40)
    promote(home, *SLOT, saved(BAD), **BY)
    broken = home.prompts / "another" / "step"
    broken.mkdir(parents=True)
    (broken / "current").write_text("{}")
    work(20)
    said, told, _ = tick()
    assert "another/step is not watched" in said
    assert "rolled back" in said
    assert len(told) == 1
