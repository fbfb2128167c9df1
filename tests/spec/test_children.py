from elexirion_dagster.dialects.load import load_any, load_string
from elexirion_dagster.expressions import Engine
from elexirion_dagster.spec.children import may_ask_model, reached
from elexirion_dagster.spec.edges import edges, effect

COMPUTES = "steps: [{name: s, type: set, vars: {x: 1}}]\n"
WRITES = "steps: [{name: s, type: files, write: {path: a, text: b}}]\n"
ASKS = "steps: [{name: s, type: llm, prompt: x}]\n"
AROUND = (
    "steps: [{name: s, type: pipeline, pipeline: ./around.yaml, max_depth: 2}, {name: t, type: command, run: ls}]\n"
)
PARENT = """name: parent
steps:
- {name: one, type: command, run: ls}
- {name: two, type: pipeline, pipeline: ./computes.yaml}
- {name: three, type: pipeline, pipeline: ./writes.yaml}
- {name: four, type: pipeline, pipeline: ./around.yaml}
- {name: five, type: pipeline, pipeline: {steps: [{name: s, type: pipeline, pipeline: ./asks.yaml}]}}
"""


def loaded(folder):
    texts = {"computes": COMPUTES, "writes": WRITES, "asks": ASKS, "around": AROUND}
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(f"name: {name}\n{text}")
    (folder / "parent.yaml").write_text(PARENT)
    return load_any(folder / "parent.yaml")


def test_a_pipeline_step_has_the_effects_of_what_it_runs(tmp_path):
    family = loaded(tmp_path)
    effects = [effect(step, family.pipelines) for step in family.pipeline.steps]
    assert effects == ["write", "pure", "write", "write", "pure"]
    assert edges(family.pipeline.steps, Engine(), family.pipelines) == {
        "one": (),
        "two": (),
        "three": ("one",),
        "four": ("three",),
        "five": (),
    }


def test_of_a_pipeline_that_was_not_loaded_the_worst_is_expected(tmp_path):
    assert effect(loaded(tmp_path).pipeline.steps[1]) == "write"


def test_what_is_reached_ends_where_it_goes_round(tmp_path):
    family = loaded(tmp_path)
    four, five = family.pipeline.steps[3:]
    assert list(reached([four], family.pipelines)) == ["around"]
    assert may_ask_model((five,), family.pipelines)
    assert not may_ask_model((four,), family.pipelines)


def test_a_loop_waits_for_what_it_refers_to_outside_and_not_for_its_own_steps():
    text = """
name: p
steps:
- {name: limit, type: set, vars: {most: 3, n: 0}}
- {name: other, type: llm, prompt: x}
- name: loop
  type: while
  condition: "{{ steps.ask.text != steps.goal.text and vars.n < vars.most }}"
  max_iterations: 3
  steps: [{name: ask, type: llm, prompt: x}, {name: up, type: set, vars: {n: "{{ vars.n + 1 }}"}}]
- {name: goal, type: llm, prompt: x}
- {name: after, type: set, vars: {x: "{{ vars.n }}"}}
"""
    found = edges(load_string(text).pipeline.steps, Engine())
    assert (found["loop"], found["after"]) == (("limit", "goal"), ("limit", "loop"))
