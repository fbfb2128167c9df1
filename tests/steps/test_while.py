import pytest

from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.fake import Rule

COUNT = """
steps:
  - {name: begin, type: set, vars: {n: 0}}
  - name: climb
    type: while
    condition: "{{ vars.n < 3 }}"
    max_iterations: 10
    steps:
      - {name: up, type: set, vars: {n: "{{ vars.n + 1 }}"}}
      - {name: seen, type: set, vars: {last: "turn {{ loop.index }} of {{ loop.index0 }}: {{ vars.n }}"}}
  - {name: after, type: set, vars: {end: "{{ vars.n }}, {{ vars.last }}"}}
"""


def test_the_condition_is_asked_before_every_turn_and_variables_live_on(start):
    results = start(COUNT).all()
    climb = results["climb"]
    assert climb.data == {
        "iterations": 3,
        "condition_met": True,
        "succeeded": 3,
        "degraded": 0,
        "skipped": 0,
        "failed": 0,
    }
    assert [(entry["index"], entry["status"], entry["up"]["data"]["n"]) for entry in climb.results] == [
        (1, "succeeded", 1),
        (2, "succeeded", 2),
        (3, "succeeded", 3),
    ]
    assert results["after"].data == {"end": "3, turn 3 of 2: 3"}


def test_a_condition_that_is_false_at_once_leaves_no_turn(start):
    climb = start(COUNT.replace("n: 0", "n: 7")).all()["climb"]
    assert (climb.status, climb.data["iterations"], climb.data["condition_met"]) == ("succeeded", 0, True)


IMPROVE = """
model: fake
steps:
  - name: improve
    type: while
    condition: "{{ steps.test.text != 'good' }}"
    max_iterations: 4
    %s
    steps:
      - {name: fix, type: llm, prompt: "turn {{ loop.index }}: {{ steps.test.text if loop.index > 1 else 'first' }}"}
      - {name: test, type: llm, prompt: "judge {{ steps.fix.text }}"}
"""
RULES = [
    Rule(match="turn 1: first", text="draft"),
    Rule(match="turn 2: bad", text="better"),
    Rule(match="judge better", text="good"),
    Rule(match="judge", text="bad"),
]


def test_a_condition_on_inner_steps_is_first_asked_after_a_turn_and_a_turn_sees_the_one_before(start):
    rehearsed = start(IMPROVE % "", rules=RULES)
    improve = rehearsed.all()["improve"]
    assert (improve.status, improve.data["iterations"]) == ("succeeded", 2)
    paths = [line["path"] for line in rehearsed.lines("intent")]
    assert paths == ["improve[1].fix", "improve[1].test", "improve[2].fix", "improve[2].test"]
    assert improve.usage.total_tokens > 0


def test_a_loop_that_was_cut_off_goes_on_and_pays_no_turn_twice(start):
    first = start(
        IMPROVE % "", rules=[*RULES[:1], Rule(match="turn 2", error=ProviderError("no key", cause="auth")), *RULES[2:]]
    )
    assert first.all()["improve"].status == "failed"
    again = start(IMPROVE % "", rules=RULES, root=first.run.info.root_run)
    assert again.all()["improve"].data["iterations"] == 2
    assert [request.messages[-1].content[0].text for request in again.fake.requests] == ["turn 2: bad", "judge better"]


def test_a_condition_that_still_holds_at_the_end_fails_and_keeps_what_was_done(start):
    improve = start(IMPROVE % "", rules=[Rule(match="turn", text="x"), Rule(match="judge", text="bad")]).all()[
        "improve"
    ]
    assert (improve.status, improve.error.cause) == ("failed", "max_turns")
    assert "after 4 turns" in improve.error.message
    assert (improve.data["iterations"], improve.data["condition_met"], len(improve.results)) == (4, False, 4)
    assert improve.usage is not None


@pytest.mark.parametrize(
    ("on_error", "status", "kept", "turns"),
    [
        ("fail", "failed", ["succeeded", "failed"], 2),
        ("skip", "succeeded", ["succeeded", "succeeded"], 3),
        ("collect", "succeeded", ["succeeded", "failed", "succeeded"], 3),
    ],
)
def test_a_turn_that_fails_does_what_on_error_says(start, on_error, status, kept, turns):
    text = """
steps:
  - name: each
    type: while
    condition: "{{ loop.index <= 3 }}"
    max_iterations: 5
    on_error: %s
    steps: [{name: divide, type: set, vars: {x: "{{ 6 / (loop.index - 2) }}"}}]
"""
    each = start(text % on_error).all()["each"]
    assert (each.status, each.data["iterations"], each.data["failed"]) == (status, turns, 1)
    assert [entry["status"] for entry in each.results] == kept
    if status == "failed":
        assert "1 of 2 turns failed" in each.error.message


def test_a_condition_that_cannot_be_evaluated_fails_and_keeps_the_cost(start):
    text = (IMPROVE % "").replace("steps.test.text != 'good'", "steps.test.text > 3")
    improve = start(text, rules=RULES).all()["improve"]
    assert (improve.status, improve.error.cause) == ("failed", "bad_input")
    assert improve.usage is not None
    assert len(improve.results) == 1


def test_the_steps_own_deadline_ends_the_loop_whatever_on_error_says(start):
    text = """
steps:
  - name: on
    type: while
    condition: true
    max_iterations: 1000
    on_error: skip
    timeout_s: 0.5
    steps: [{name: wait, type: command, run: "sleep 0.2"}]
"""
    on = start(text).all()["on"]
    assert (on.status, on.error.cause) == ("failed", "timeout")
    assert on.data["iterations"] < 1000
