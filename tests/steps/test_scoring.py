import pytest

from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.fake import Rule

EACH = """
name: rehearsed
score: {%s}
steps:
  - name: review
    type: for_each
    items: [{id: a, weight: 1}, {id: b, weight: 2}]
    as: file
    on_error: collect
    steps:
      - {name: look, type: llm, prompt: "look at {{ file.id }}", output: {n: integer}}
  - {name: mark, type: set, vars: {most: 2}}
"""
ANSWERS = [Rule("look at a", data={"n": 1}), Rule("look at b", data={"n": 5})]


def scores(run):
    run.all()
    run.run.close()
    return [(line["path"], line["name"], line["value"], line["error"]) for line in run.lines("score")]


def test_each_item_of_a_for_each_is_scored_with_what_its_steps_answered(start):
    value = "{{ steps.look.data.n < vars.most * file.weight }}"
    run = start(EACH % f'small: {{of: review.look, value: "{value}"}}', rules=ANSWERS)
    assert scores(run) == [("review[a].look", "small", 1.0, None), ("review[b].look", "small", 0.0, None)]
    line = run.lines("score")[0]
    assert (line["pipeline"], line["step"], line["source"]) == ("rehearsed", "review.look", "expression")


@pytest.mark.parametrize(
    "value", ["{{ 1.5 }}", "{{ 'yes' }}", "{{ -1 }}", "{{ none }}", "{{ 1 / 0 }}", "{{ 1e999 - 1e999 }}"]
)
def test_what_is_no_score_is_an_error_that_names_the_expression(start, value):
    run = start(f'name: p\nscore: {{s: {{of: ask, value: "{value}"}}}}\nsteps: [{{name: ask, type: llm, prompt: x}}]')
    ((path, name, found, error),) = scores(run)
    assert (path, name, found) == ("ask", "s", None)
    assert error.startswith("score s: ")
    assert value in error


def test_a_failed_run_has_the_scores_whose_values_are_there(start):
    run = start(
        """
name: p
score:
  first: {of: ask, value: "{{ steps.ask.text == 'yes' }}"}
  later: {of: ask, value: "{{ steps.fails.data.n == 0 }}"}
  never: {of: other, value: "{{ 1 }}"}
steps:
  - {name: ask, type: llm, prompt: x}
  - {name: fails, type: llm, prompt: break, output: {n: integer}}
  - {name: other, type: llm, prompt: "{{ steps.fails.text }}"}
""",
        rules=[Rule("break", error=ProviderError("no", cause="refused")), Rule(text="yes")],
    )
    assert scores(run) == [("ask", "first", 1.0, None)]


def test_a_score_of_a_while_and_a_switch_is_found_at_their_paths(start):
    run = start(
        """
name: p
score:
  turn: {of: again.ask, value: "{{ loop.index == 2 }}"}
  taken: {of: choose.case1.ask, value: "{{ steps.ask.status == 'succeeded' }}"}
  other: {of: choose.default.ask, value: "{{ 1 }}"}
steps:
  - {name: again, type: while, condition: "{{ loop.index < 3 }}", steps: [{name: ask, type: llm, prompt: x}]}
  - name: choose
    type: switch
    value: "{{ 'A b' }}"
    cases: {"A b": [{name: ask, type: llm, prompt: y}]}
    default: [{name: ask, type: llm, prompt: z}]
"""
    )
    assert [found[:3] for found in scores(run)] == [
        ("again[1].ask", "turn", 0.0),
        ("again[2].ask", "turn", 1.0),
        ("choose[A b].ask", "taken", 1.0),
    ]


def test_secrets_in_a_wrong_score_are_not_kept(start):
    key = "sk-ant-" + "a1b2c3d4e5f6g7h8"
    run = start(
        'name: p\nscore: {s: {of: ask, value: "{{ inputs.word }}"}}\ninputs: {word: {type: string}}\n'
        "steps: [{name: ask, type: llm, prompt: x}]",
        word=key,
    )
    ((_, _, _, error),) = scores(run)
    assert key not in error
    assert "[redacted:" in error
