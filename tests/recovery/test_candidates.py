"""Documents made from failures."""

import json
import time

import pytest

from elexirion_dagster.dialects.load import load_any, load_string
from elexirion_dagster.errors import ElexirionError, InputError, PolicyError
from elexirion_dagster.recovery.candidates import candidate_file, check_contained, verified
from elexirion_dagster.recovery.plan import RECOVER, Failed
from elexirion_dagster.recovery.recover import finder, recover
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.failures.recoveries import past
from elexirion_dagster.store.home import open_home

TOOLS = """
name: main
budget: {usd: 1}
steps:
  - name: each
    type: for_each
    items: [1, 2, 3]
    max_parallel: 8
    steps:
      - name: fix
        type: llm
        model: anthropic/claude-sonnet-5-5
        prompt: go
        tools: [read, write, {command: [ls]}]
        max_turns: 5
        max_tokens: 50
      - {name: ask, type: llm, prompt: "{{ item }}", examples: [{prompt: a, answer: b}], samples: 3}
"""
KEYS = {"anthropic_api_key": "a" * 20, "local_base_url": "http://127.0.0.1:9/v1", "local_model": "small"}


@pytest.fixture
def house(tmp_path, home_path):
    """Fail the pipeline with a cause; returns the plan and the derived pipeline, None where there is none."""
    file = tmp_path / "main.yaml"
    file.write_text(TOOLS, encoding="utf-8")
    settings = Settings(home=home_path, model="anthropic/claude-sonnet-5-5", **KEYS)

    def fail(cause, run="root", tags=()):
        failed = Failed(run, "root", "main", cause, None, time.time(), {}, dict(tags))
        plan = recover(failed, settings, {"main": file})
        kept = candidate_file(open_home(home_path), run)
        return plan, load_string(kept.read_text(encoding="utf-8")).pipeline if kept.exists() else None

    fail.file, fail.home = file, open_home(home_path)
    return fail


@pytest.mark.parametrize(
    ("cause", "change"),
    [
        ("auth", {"model": "local/small"}),
        ("max_turns", {"max_turns": 10}),
        ("truncated", {"max_tokens": 8192}),
        ("context_exceeded", {"plain": True}),
        ("tool_denied", {"tools": ["read", "glob", "grep"]}),
    ],
)
def test_each_cause_has_an_edit_of_its_own_and_the_generic_job_runs_it(house, cause, change):
    plan, derived = house(cause)
    assert (plan.action, plan.change, plan.launches[0].job) == ("derive", change, RECOVER)
    assert derived.name == "main_root"
    assert derived.fallback == ()


def test_a_fourth_loss_of_the_worker_makes_smaller_waves_and_a_fifth_smaller_ones(house):
    plan, tags = None, {}
    for number in range(3):
        plan, _ = house("worker_lost", str(number) if number else "root", tags)
        assert plan.action == "continue"
        tags = plan.launches[0].tags
    fourth, derived = house("worker_lost", "four", tags)
    assert fourth.change == {"max_parallel": 4, "batch_size": 4}
    assert derived.steps[0].max_parallel == 4
    fifth, _ = house("worker_lost", "five", fourth.launches[0].tags)
    assert fifth.change == {"max_parallel": 2, "batch_size": 2}


def test_edits_add_up_and_the_document_has_them_all(house):
    first, _ = house("context_exceeded")
    _, derived = house("context_exceeded", "two", first.launches[0].tags)
    fix, ask = derived.steps[0].steps
    assert (ask.examples, ask.samples, derived.model, fix.model) == ((), 1, "local/small", "local/small")


@pytest.mark.parametrize("tags", [{"elexirion/model": "local/small"}, {"elexirion/model": "none"}])
def test_what_a_user_kept_on_this_machine_or_off_all_models_is_not_sent_elsewhere(house, tags):
    plan, _ = house("auth", tags=tags)
    assert plan.action == "park"


def test_without_a_budget_nothing_is_made_more(house):
    house.file.write_text(TOOLS.replace("budget: {usd: 1}", "budget: {seconds: 9}"), encoding="utf-8")
    plan, _ = house("truncated")
    assert plan.change == {"model": "local/small"}, "the local model costs no more"


def test_a_kept_document_is_what_was_derived_and_no_other(house):
    plan, _ = house("tool_denied")
    find = finder({"main": house.file})
    _, change = verified(house.home, "root", past(house.home, "root"), find)
    assert json.loads(plan.launches[0].tags["elexirion/change"]) == change.model_dump(mode="json", exclude_unset=True)

    kept = candidate_file(house.home, "root")
    kept.write_text(kept.read_text(encoding="utf-8").replace("- read", "- write"), encoding="utf-8")
    with pytest.raises(PolicyError, match="is not what was derived"):
        verified(house.home, "root", past(house.home, "root"), find)
    kept.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        verified(house.home, "root", past(house.home, "root"), find)


def test_a_document_of_an_unknown_run_or_of_a_run_that_went_on_otherwise_is_refused(house):
    house("worker_lost")
    for run in ("root", "nobody"):
        with pytest.raises(InputError, match="no failed run that a document was derived for"):
            verified(house.home, run, past(house.home, "root"), finder({"main": house.file}))


def test_a_document_of_a_pipeline_that_was_changed_is_refused(house):
    house("tool_denied")
    house.file.write_text(TOOLS.replace("prompt: go", "prompt: stop"), encoding="utf-8")
    with pytest.raises(ElexirionError, match="is not what was derived"):
        verified(house.home, "root", past(house.home, "root"), finder({"main": house.file}))


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("[read, write,", "[read, write, edit,", "tools"),
        ("[ls]", "[ls, sh]", "programs"),
        ("name: main", "name: main\ninputs: {place: {type: path, default: /}}", "paths"),
        ("{usd: 1}", "{usd: 2}", "money"),
        ("name: main", "name: main\nenv: [HOME]", "environment variables"),
    ],
)
def test_a_document_with_more_than_its_origin_is_refused(house, old, new, what):
    original = load_any(house.file).pipeline
    with pytest.raises(PolicyError, match=what):
        check_contained(load_string(TOOLS.replace(old, new)).pipeline, original)
