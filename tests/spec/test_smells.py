import pytest

from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.expressions import Engine
from elexirion_dagster.spec.smells import smells

LAST = "- {name: last, type: set, vars: {x: 1}}\n"
TURN = "steps: [{name: i, type: llm, prompt: x}]"
ROUND = "steps: [{name: i, type: set, vars: {x: 1}}]"


def found(text):
    loaded = load_string(f"name: p\n{text}")
    return [issue.message for issue in smells(loaded.pipeline, Engine(), loaded.pipelines) if issue.warning]


@pytest.mark.parametrize(
    "used",
    [
        "- {name: one, type: llm, prompt: x, output_to: a.txt}\n" + LAST,
        "- {name: one, type: llm, prompt: x, effects: write}\n" + LAST,
        "- {name: one, type: llm, prompt: x}\n- {name: last, type: set, vars: {x: '{{ steps.one.text }}'}}\n",
        "- {name: one, type: llm, prompt: x}\n- {name: last, type: set, needs: [one], vars: {x: 1}}\n",
        "- {name: one, type: set, vars: {y: 1}}\n- {name: last, type: set, vars: {x: '{{ vars.y }}'}}\n",
        "- {name: one, type: llm, prompt: x}\n" + LAST + "outputs: {one: '{{ steps.one.text }}'}\n",
        "- {name: one, type: command, run: ls}\n" + LAST,
    ],
)
def test_a_step_whose_result_or_effect_somebody_wants_is_no_smell(used):
    assert found(f"steps:\n{used}") == []


def test_a_step_that_nobody_uses_is_told_also_inside_an_inline_pipeline():
    one = "- {name: one, type: llm, prompt: x}\n"
    assert found(f"steps:\n{one}{LAST}") == ["nothing uses what the step 'one' comes to, and it does nothing else"]
    body = "{steps: [{name: two, type: llm, prompt: x}, {name: z, type: llm, prompt: x}]}"
    (message,) = found(f"steps:\n- {{name: sub, type: pipeline, pipeline: {body}}}\n")
    assert "'two'" in message


@pytest.mark.parametrize(
    ("budget", "bound", "inner", "count"),
    [
        ("", "max_iterations: 3, ", TURN, 1),
        ("budget: {usd: 1}\n", "max_iterations: 3, ", TURN, 0),
        ("budget: {tokens: 1000}\n", "", TURN, 1),
        ("", "", TURN, 2),
        ("", "max_iterations: 3, ", ROUND, 0),
    ],
)
def test_a_loop_wants_a_bound_and_a_budget_where_it_asks_a_model(budget, bound, inner, count):
    loop = f"- {{name: on, type: while, {bound}condition: '{{{{ loop.index < 3 }}}}', {inner}}}\n"
    assert len(found(f"{budget}steps:\n{loop}")) == count
