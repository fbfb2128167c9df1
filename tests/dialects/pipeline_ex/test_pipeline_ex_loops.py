"""Loops and nested pipelines of pipeline_ex keep their documented meaning."""

import pytest

from elexirion_dagster.dialects.load import load_any, load_string
from elexirion_dagster.errors import PipelineError
from elexirion_dagster.yamlio import dump

FAKE = {"elexirion/model": "fake"}


def results_of(start, text, **inputs):
    rehearsed = start(text, tags=FAKE, **inputs)
    return rehearsed.all()


def test_a_while_loop_asks_its_condition_afresh_and_keeps_variables(start):
    text = """
workflow:
  name: w
  variables: {n: 0, most: 3}
  steps:
    - name: grow
      type: while_loop
      condition: "{{state.n < state.most}}"
      max_iterations: 9
      timeout_seconds: 60
      steps:
        - {name: bump, type: set_variable, variables: {n: "{{state.n + 1}}"}}
        - {name: ask, type: gemini, prompt: "{{state.n > 1 ? 'again' : 'first'}} {{loop.index}}"}
    - {name: end, type: gemini, prompt: "n={{state.n}} turns={{steps.grow.iterations}}"}
"""
    assert results_of(start, text)["end"].text.endswith("n=3 turns=3")


def test_a_while_loop_may_ask_for_what_its_own_steps_came_to(start):
    text = """
workflow:
  name: w
  steps:
    - name: again
      type: while_loop
      condition: "test.score < 90"
      max_iterations: 2
      steps: [{name: test, type: gemini, prompt: x, output_schema: {score: number}}]
    - {name: end, type: gemini, prompt: after}
"""
    results = results_of(start, text)
    assert (results["again"].status, results["end"].status) == ("failed", "succeeded")


def test_a_loop_without_a_bound_makes_a_hundred_turns_and_says_so():
    text = "workflow: {steps: [{name: l, type: while_loop, condition: a.success, steps: [%s]}]}"
    loaded = load_string(text % "{name: a, type: gemini, prompt: x}")
    assert [step.get("max_iterations") for step in loaded.document.data["steps"]] == [100]
    assert any(note.key == "max_iterations" for note in loaded.notes)


@pytest.mark.parametrize("keys", [("iterator", "data_source"), ("as", "over")])
def test_a_for_loop_sees_its_item_under_every_name(keys, start):
    item, source = keys
    text = f"""
workflow:
  name: w
  variables: {{rows: [{{path: a.py}}, {{path: b.py}}]}}
  steps:
    - name: each
      type: for_loop
      {item}: file
      {source}: rows
      steps:
        - name: look
          type: gemini
          prompt:
            - {{type: static, content: "{{{{loop.file.path}}}} {{{{file.path}}}} {{{{loop.item.path}}}}"}}
            - {{type: previous_response, step: loop, extract: item.path}}
    - {{name: end, type: gemini, prompt: "{{{{steps.each.iterations[1].results.look}}}}"}}
"""
    assert results_of(start, text)["end"].text.endswith("b.py b.py b.py\nb.py")


def test_a_failed_loop_does_not_end_the_run(start):
    text = """
workflow:
  name: w
  steps:
    - name: each
      type: for_loop
      iterator: n
      data_source: "{{ [1, 2] }}"
      steps: [{name: bad, type: bash, command: "false"}]
    - {name: end, type: gemini, prompt: after}
"""
    text = text.replace('"{{ [1, 2] }}"', "[1, 2]")
    results = results_of(start, text)
    assert (results["each"].status, results["end"].status) == ("failed", "succeeded")


CHILD = """
workflow:
  name: parent
  global_vars: {shared: 7}
  steps:
    - {name: load-data, type: test_echo, value: {count: 4, list: [1, 2]}}
    - name: child
      type: pipeline
      pipeline:
        name: inner
        steps:
          - {name: product, type: test_echo, value: "{{multiply(inputs.count, inputs.factor)}}"}
          - {name: all, type: test_echo, value: "{{inputs.list}} {{global_vars.shared}} {{steps.product.result}}"}
      inputs: {count: "{{steps.load-data.count}}", factor: 3, list: "{{steps.load-data.result.list}}"}
      outputs: [product, {path: all.result, as: text}]
      config: {inherit_context: true, max_depth: 3, enable_tracing: true}
output: {made: "{{steps.child.product}}", text: "{{steps.child.result.text}}"}
"""


def test_a_nested_pipeline_sees_its_inputs_with_their_types(start):
    loaded = load_string(CHILD, test_steps=True)
    assert {note.key for note in loaded.notes} == {"name", "enable_tracing"}
    rehearsed = start(dump(loaded.document.data))
    results = rehearsed.all()
    assert rehearsed.run.outputs(results) == {"made": 12, "text": "[1, 2] 7 12"}


def test_a_pipeline_in_a_file_is_found_beside_the_document(tmp_path):
    (tmp_path / "parent.yaml").write_text(
        "workflow: {steps: [{name: a, type: pipeline, pipeline_file: child.yaml, inputs: {x: 1}}]}"
    )
    (tmp_path / "child.yaml").write_text("workflow: {name: c, steps: [{name: g, type: gemini, prompt: '{{x}}'}]}")
    with pytest.raises(PipelineError, match="x"):
        load_any(tmp_path / "parent.yaml")
    (tmp_path / "child.yaml").write_text(
        "workflow: {name: c, input: {x: 0}, steps: [{name: g, type: gemini, prompt: '{{x}}'}]}"
    )
    assert load_any(tmp_path / "parent.yaml").pipeline.steps[0].pipeline == "./child.yaml"
