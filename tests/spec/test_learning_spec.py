"""Scores, labelled examples and `optimize` in documents."""

import pytest

from elexirion_dagster.dialects.load import load_any, load_string
from elexirion_dagster.errors import ExpressionError, PipelineError
from elexirion_dagster.expressions import Engine
from elexirion_dagster.operations.pipelines import check
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.learning import F1Metric, as_score
from elexirion_dagster.spec.slots import slots

STEPS = """
steps:
  - {name: ask, type: llm, prompt: "{{ inputs.goal }}", output: {kind: string}}
  - {name: work, type: llm, prompt: x, tools: [read]}
  - {name: talk, type: llm, prompt: x, session: s}
  - name: review
    type: for_each
    items: [1]
    as: file
    steps: [{name: look, type: llm, prompt: "{{ file }}", optimize: {budget: {calls: 7}, canary: 0.5}}]
  - {name: inline, type: pipeline, pipeline: {model: fake/own, steps: [{name: inner, type: llm, prompt: x}]}}
inputs: {goal: {type: string, default: g}}
"""


def problems(head, steps=STEPS):
    with pytest.raises(PipelineError) as caught:
        load_string(f"name: p\n{head}\n{steps}")
    return caught.value.problems


@pytest.mark.parametrize(
    ("head", "message", "mend"),
    [
        (
            'score: {s: {of: reviw.look, value: "{{ 1 }}"}}',
            "'reviw.look' is no llm step",
            "Did you mean 'review.look'?",
        ),
        ('score: {s: {of: review, value: "{{ 1 }}"}}', "'review' is no llm step", None),
        ('score: {s: {of: inline.inner, value: "{{ 1 }}"}}', "whose values nobody outside sees", "a file of its own"),
        ('score: {s: {of: ask, value: "{{ steps.aks.text }}"}}', "steps.aks is no step", "Did you mean 'ask'?"),
        ('score: {s: {of: ask, value: "{{ file }}"}}', "'file' is not defined here", None),
        ('score: {s: {of: ask, value: "{{ 1 +"}}', "", None),
        ("score: {s: {of: ask}}", "the key 'value' is missing", None),
        ("examples: {asks: x.jsonl}", "'asks' is no llm step", "Did you mean 'ask'?"),
        ("examples: {work: x.jsonl}", "it uses tools", "Remove"),
        ("optimize: {metric: {exact: kid}}", "the output of ask has no field 'kid'", "Did you mean 'kind'?"),
        (
            'optimize: {metric: {expression: "{{ answr == 1 }}"}}',
            "'answr' is not defined here",
            "Did you mean 'answer'?",
        ),
        ("optimize: {metric: {f2: kind}}", "exactly one of exact, f1, expression and judge", None),
        ("optimize: {metric: {f1: kind, bye: [a]}}", "unknown key 'bye'", "Did you mean 'by'?"),
        ("optimize: {budget: {usd: 0}}", "usd: expected greater than 0, got 0", None),
        ("optimize: {budget: {iterations: 10}}", "less than or equal to 9", None),
        ("optimize: {canary: .nan}", "canary", None),
    ],
)
def test_what_cannot_be_learned_so_is_refused_where_it_stands(head, message, mend):
    problem = problems(head)[0]
    assert problem.line == 2
    assert message in problem.message
    assert mend is None or mend in (problem.mend or "")


@pytest.mark.parametrize(("key", "why"), [("tools: [read]", "tools"), ("session: s", "session")])
def test_a_step_whose_questions_cannot_be_asked_again_is_not_optimised_and_says_why(key, why):
    (problem,) = problems("", f"steps: [{{name: a, type: llm, prompt: x, {key}, optimize: {{}}}}]")
    assert "the prompt of a cannot be optimised" in problem.message
    assert why in problem.message
    assert problem.line == 3


def test_slots_are_all_prompts_of_the_pipeline_with_what_holds_for_them():
    text = f"name: p\nmodel: fake/one\noptimize: {{metric: {{exact: kind}}, budget: {{usd: 2}}}}\n{STEPS}"
    with pytest.raises(PipelineError):
        load_string(text)  # `look` answers in free text
    found = slots(load_string(text.replace("exact: kind", "expression: '{{ answer == expected }}'")).pipeline)
    assert [slot.step for slot in found] == ["ask", "work", "talk", "review.look", "inline.inner"]
    ask, work, talk, look, inner = found
    assert work.optimize is None
    assert talk.optimize is None
    assert (look.optimize.budget.usd, look.optimize.budget.calls, look.optimize.canary) == (2, 7, 0.5)
    assert look.optimize.metric == ask.optimize.metric
    assert (ask.model, inner.model, inner.pipeline) == ("fake/one", "fake/own", "p")
    assert ask.inputs(Engine()) == ("inputs.goal",)


def test_nothing_to_optimise_is_told():
    (warning,) = load_string("name: p\noptimize: {}\nsteps: [{name: a, type: llm, prompt: x, tools: [read]}]").warnings
    assert "no llm step whose prompt could be optimised" in warning.message


def test_a_step_may_change_its_metric_alone():
    steps = "steps: [{name: a, type: llm, prompt: x, output: {l: [string]}, optimize: {metric: {f1: l}}}]"
    (slot,) = slots(load_string(f"name: p\noptimize: {{min_rows: 5}}\n{steps}").pipeline)
    assert slot.optimize.metric == F1Metric(f1="l")
    assert slot.optimize.min_rows == 5


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.01, 1.01, "1", None, [1]])
def test_only_true_false_and_0_to_1_are_scores(value):
    with pytest.raises(ExpressionError, match="the template"):
        as_score(value, "the template")
    assert [as_score(one, "") for one in (True, False, 0, 0.25)] == [1.0, 0.0, 0.0, 0.25]


LABELLED = """name: p
examples: {ask: labels/kinds.jsonl}
steps:
  - {name: ask, type: llm, prompt: "{{ inputs.goal }}", output: {kind: string}}
inputs: {goal: {type: string, default: g}}
"""


def test_a_file_of_examples_lies_below_the_document_s_folder(tmp_path):
    file = tmp_path / "inside" / "p.yaml"
    (tmp_path / "inside" / "labels").mkdir(parents=True)
    for place in (file.parent / "labels" / "kind.jsonl", tmp_path / "x.jsonl"):
        place.write_text("")
    for reference, said in (
        ("labels/kinds.jsonl", "the file labels/kinds.jsonl does not exist"),
        ("../x.jsonl", "leads out of"),
        ("../y.jsonl", "does not exist"),
    ):
        file.write_text(LABELLED.replace("labels/kinds.jsonl", reference))
        with pytest.raises(PipelineError) as caught:
            load_any(file)
        (problem,) = caught.value.problems
        assert said in problem.message
        assert (problem.line, problem.file) == (2, str(file))
    file.write_text(LABELLED)
    with pytest.raises(PipelineError, match=r"Did you mean 'kind\.jsonl'"):
        load_any(file)


def test_check_names_the_line_of_a_wrong_row(tmp_path):
    (tmp_path / "labels").mkdir()
    rows = tmp_path / "labels" / "kinds.jsonl"
    rows.write_text(
        '{"inputs": {"goal": "a"}, "expected": {"kind": "x"}}\n{"inputs": {"goal": "a"}, "expected": {"kind": 1}}\n'
    )
    file = tmp_path / "p.yaml"
    file.write_text(LABELLED)
    ((_, found),) = check([str(file)], Settings())
    assert isinstance(found, PipelineError)
    assert f"{rows}:2: expected does not fit the output of ask" in str(found)
