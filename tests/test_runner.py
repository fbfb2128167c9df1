import json
import sys
import time

import pytest

from elexirion_dagster.errors import CAUSES, Cancelled
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.fake import Rule
from elexirion_dagster.records import Usage
from elexirion_dagster.spec.steps import STEP_MODELS
from elexirion_dagster.steps import sql
from elexirion_dagster.steps.context import StepContext

COUNT = (
    "import os, sys; n = int(open('n').read()) + 1 if os.path.exists('n') else 1; open('n', 'w').write(str(n));"
    "print(n); sys.exit(0 if n >= int(sys.argv[1]) else 1)"
)


def counting(succeeds_at, **keys):
    step = {"name": "c", "type": "command", "run": [sys.executable, "-c", COUNT, str(succeeds_at)], **keys}
    return f"steps: [{json.dumps(step)}]"


def test_when_decides_and_says_why_it_skipped(one):
    text = 'inputs: {n: {type: integer}}\nsteps: [{name: s, type: set, vars: {x: 1}, when: "inputs.n > 1"}]'
    assert one(text, n=2).status == "succeeded"
    skipped = one(text, n=1)
    assert (skipped.status, skipped.reason) == ("skipped", "when is false: inputs.n > 1")


def test_an_unclear_condition_is_a_failure(one):
    text = "inputs: {x: {type: string}}\nsteps: [{name: s, type: set, vars: {x: 1}, when: '{{ inputs.x }}'}]"
    assert one(text, x="no").error.cause == "bad_input"


def test_a_step_is_tried_again_for_the_causes_its_retry_names(one):
    retry = {"max_attempts": 3, "on": ["command_failed"], "initial_s": 0}
    assert one(counting(3, retry=retry)).text == "3\n"
    assert one(counting(4, retry=retry)).error.cause == "command_failed"
    assert one(counting(2, retry={**retry, "on": ["timeout"]})).status == "failed"
    assert one(counting(2)).status == "failed"


def test_the_pipeline_s_retry_holds_for_steps_that_say_nothing(one):
    text = "retry: {max_attempts: 3, on: [command_failed], initial_s: 0}\n"
    assert one(text + counting(3)).text == "3\n"
    assert one(text + counting(3, retry={"max_attempts": 1})).status == "failed"


def test_the_pipeline_s_retry_repeats_parts_not_the_composite_around_them(one):
    inner = json.loads(counting(99)[len("steps: ") :])
    outer = {"name": "each", "type": "for_each", "items": [1], "steps": inner}
    text = f"retry: {{max_attempts: 2, on: [command_failed], initial_s: 0}}\nsteps: [{json.dumps(outer)}]"
    result = one(text)
    assert result.results[0]["c"]["text"] == "2\n"


def document(*steps, **keys):
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in {**keys, "steps": steps}.items())


FAILING = {
    "command": {"run": ["sh", "-c", "exit 3"]},
    "set": {"vars": {"x": "{{ 1 / 0 }}"}},
    "files": {"read": {"path": "missing.txt"}},
    "sql": {"tables": {"t": "{{ 1 / 0 }}"}, "query": "SELECT 1"},
    "transform": {"from": "{{ 1 / 0 }}", "ops": [{"limit": 1}]},
    "analyze": {"paths": "{{ 1 / 0 }}"},
    "query": {"root": "missing", "symbols": {}},
    "llm": {"prompt": "{{ 1 / 0 }}"},
}


def test_every_leaf_step_type_is_tried_by_the_retry_tests():
    composite = {"for_each", "while", "switch", "pipeline"}
    assert FAILING.keys() == STEP_MODELS.keys() - composite


@pytest.mark.parametrize("kind", FAILING)
def test_the_pipeline_s_retry_holds_for_every_leaf_step_type_and_the_step_s_own_goes_first(start, kind):
    retry = {"max_attempts": 3, "on": list(CAUSES), "initial_s": 0}
    said = {"name": "s", "type": kind, **FAILING[kind], "continue_on_error": True}
    own = {**said, "name": "t", "retry": {**retry, "max_attempts": 2}}
    rehearsed = start(document(said, own, model="fake", retry=retry))
    assert {result.status for result in rehearsed.all().values()} == {"failed"}
    assert {line["step"]: line["attempts"] for line in rehearsed.lines("step")} == {"s": 3, "t": 2}


def test_the_pipeline_s_retry_repeats_a_query_that_timed_out(start, monkeypatch):
    monkeypatch.setattr(sql, "_MOST_S", 0.2)
    query = "SELECT count(*) FROM range(100000000) a, range(100000000) b"
    step = {"name": "s", "type": "sql", "tables": {"t": [{"x": 1}]}, "query": query}
    retry = {"max_attempts": 2, "on": ["timeout"], "initial_s": 0}
    rehearsed = start(document(step, retry=retry))
    assert rehearsed.all()["s"].error.cause == "timeout"
    assert [line["attempts"] for line in rehearsed.lines("step")] == [2]


@pytest.mark.parametrize(
    ("keys", "attempts"),
    [({}, 1), ({"effects": "read"}, 2), ({"retry": {"max_attempts": 2, "on": ["timeout"], "initial_s": 0}}, 2)],
    ids=["it writes", "it only reads", "its own retry says so"],
)
def test_a_program_that_was_cut_short_is_repeated_only_where_that_is_safe(start, monkeypatch, keys, attempts):
    monkeypatch.setattr(StepContext.time_left_s, "__defaults__", (0.3,))
    step = {"name": "c", "type": "command", "run": ["sh", "-c", "echo x >> begun; sleep 60"], **keys}
    retry = {"max_attempts": 2, "on": ["timeout"], "initial_s": 0}
    rehearsed = start(document(step, retry=retry))
    assert rehearsed.all()["c"].error.cause == "timeout"
    begun = rehearsed.home.workspace(rehearsed.run.info.root_run) / "begun"
    assert begun.read_text() == "x\n" * attempts


@pytest.mark.parametrize("cause", ["overloaded", "timeout", "auth", "refused"])
@pytest.mark.parametrize("place", ["pipeline", "step"])
def test_a_model_call_is_not_retried_by_its_step_as_well(start, cause, place):
    retry = {"max_attempts": 3, "on": [cause], "initial_s": 0}
    step = {"name": "ask", "type": "llm", "prompt": "go", **({"retry": retry} if place == "step" else {})}
    whole = {"retry": retry} if place == "pipeline" else {}
    rehearsed = start(document(step, model="fake", **whole), rules=[Rule(error=ProviderError("no", cause=cause))])
    assert rehearsed.all()["ask"].error.cause == cause
    assert len(rehearsed.fake.requests) == 3


def test_a_repeated_step_costs_what_all_attempts_cost(one):
    text = """
model: fake
steps:
  - name: ask
    type: llm
    prompt: go
    output: {x: integer}
    retry: {max_attempts: 2, on: [malformed_output], initial_s: 0}
"""
    result = one(text, rules=[Rule(text="nonsense", usage=Usage(10, 1))])
    assert result.error.cause == "malformed_output"
    assert result.usage == Usage(40, 4)  # two attempts of one call and one correction each


def test_a_retry_that_could_only_begin_after_the_deadline_is_not_waited_for(one):
    begun = time.monotonic()
    retry = {"max_attempts": 3, "on": ["command_failed"], "initial_s": 60}
    result = one(counting(2, retry=retry, timeout_s=30))
    assert result.error.cause == "command_failed"
    assert time.monotonic() - begun < 30


def test_timeout_s_bounds_the_step_with_all_its_attempts(one):
    text = 'steps: [{name: c, type: command, run: [sleep, "60"], timeout_s: 0.3, retry: {on: [timeout], initial_s: 0}}]'
    assert one(text).error.cause == "timeout"


def test_the_run_s_seconds_bound_every_step(start):
    text = (
        "budget: {seconds: 0.2}\n"
        'steps: [{name: c, type: command, run: [sleep, "60"]}, {name: s, type: set, vars: {x: 1}}]'
    )
    rehearsed = start(text)
    first, second = rehearsed.run.pipeline.steps
    assert rehearsed.run.step(first, {}).error.cause == "timeout"
    assert rehearsed.run.step(second, {}).error.cause == "timeout"


def test_a_cancelled_run_starts_nothing(start):
    rehearsed = start(counting(1))
    rehearsed.run.cancel()
    with pytest.raises(Cancelled):
        rehearsed.all()


def test_continue_on_error_lets_the_others_go_on(start):
    text = """
steps:
  - {name: breaks, type: set, vars: {x: "{{ 1 / 0 }}"}, continue_on_error: true}
  - {name: after, type: set, vars: {seen: "{{ steps.breaks.status }}: {{ steps.breaks.error.cause }}"}}
"""
    assert start(text).all()["after"].data == {"seen": "failed: bad_input"}


def test_output_to_writes_text_or_data(start):
    text = """
steps:
  - {name: c, type: command, run: [echo, hi], output_to: "out/{{ run.pipeline }}.txt"}
  - {name: s, type: set, vars: {x: [1]}, output_to: data.json}
"""
    rehearsed = start(text)
    rehearsed.all()
    workspace = rehearsed.home.workspace(rehearsed.run.info.root_run)
    assert (workspace / "out" / "rehearsed.txt").read_text() == "hi\n"
    assert json.loads((workspace / "data.json").read_text()) == {"x": [1]}


def test_an_output_file_outside_the_workspace_is_refused(one):
    assert one("steps: [{name: s, type: set, vars: {x: 1}, output_to: ../out}]").error.cause == "tool_denied"


def test_every_step_leaves_a_line_with_its_path(start):
    text = (
        "model: fake\n"
        'steps: [{name: each, type: for_each, items: [a], steps: [{name: ask, type: llm, prompt: "{{ item }}"}]}]'
    )
    rehearsed = start(text)
    rehearsed.all()
    assert [(line["path"], line["status"]) for line in rehearsed.lines("step")] == [
        ("each[a].ask", "succeeded"),
        ("each", "succeeded"),
    ]


REUSE = """
inputs: {q: {type: string, default: a}}
model: fake
steps:
  - {name: first, type: llm, prompt: "{{ inputs.q }}"}
  - {name: second, type: llm, prompt: "after {{ steps.first.text }}"}
"""


def test_a_finished_step_is_found_again_by_a_later_run_of_the_same_root(start):
    first = start(REUSE)
    before = first.all()
    again = start(REUSE, root=first.run.info.root_run)
    after = again.all()
    assert len(again.fake.requests) == 0
    assert {name: result.text for name, result in after.items()} == {name: r.text for name, r in before.items()}
    assert after["second"].metadata["reused"] is True


def test_a_failed_step_is_done_again_and_what_stands_before_it_is_not(start):
    broken = start(REUSE, rules=[Rule(match="after", error=ProviderError("no", cause="auth"))])
    assert broken.all()["second"].status == "failed"
    again = start(REUSE, root=broken.run.info.root_run)
    assert again.all()["second"].status == "succeeded"
    assert len(again.fake.requests) == 1


def test_a_changed_step_is_other_work(start):
    first = start(REUSE)
    first.all()
    again = start(REUSE.replace("after {{", "then {{"), root=first.run.info.root_run)
    again.all()
    assert len(again.fake.requests) == 1


def test_another_model_is_other_work_only_for_steps_that_ask_one(start):
    text = REUSE + "  - {name: plain, type: set, vars: {x: '{{ steps.first.status }}'}}\n"
    first = start(text, tags={"elexirion/model": "none"})
    assert first.all()["first"].status == "skipped"
    again = start(text, root=first.run.info.root_run, tags={"elexirion/model": "fake"})
    results = again.all()
    assert results["first"].status == "succeeded"


def test_items_that_were_done_are_not_done_again(start):
    text = """
inputs: {items: {type: list}}
model: fake
steps:
  - name: each
    type: for_each
    items: "{{ inputs.items }}"
    max_parallel: 1
    steps: [{name: ask, type: llm, prompt: "{{ item }}"}]
"""
    broken = start(text, rules=[Rule(match="c", error=ProviderError("no", cause="auth"))], items=["a", "b", "c", "d"])
    assert broken.all()["each"].status == "failed"
    again = start(text, root=broken.run.info.root_run, items=["a", "b", "c", "d"])
    assert again.all()["each"].status == "succeeded"
    assert len(again.fake.requests) == 2


def test_what_a_finished_step_wrote_is_there_for_a_later_run_of_the_same_root(start):
    text = """
inputs: {}
steps:
  - {name: write, type: files, write: {path: note.txt, text: kept}}
  - {name: read, type: command, run: [cat, note.txt, "{{ env.EXTRA }}"]}
env: [EXTRA]
"""
    broken = start(text, settings={"environ": {"EXTRA": "missing"}})
    assert broken.all()["read"].status == "failed"
    again = start(text, root=broken.run.info.root_run, settings={"environ": {"EXTRA": "note.txt"}})
    assert again.all()["read"].text == "keptkept"
