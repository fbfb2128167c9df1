"""Whether answers get what they are worth, and words that help."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from learned import a_row

from elexirion_dagster.errors import ElexirionError, ExpressionError, InputError
from elexirion_dagster.expressions import Engine
from elexirion_dagster.spec.learning import Optimize
from optimizer_assets.scoring.metrics import metric_of

ENTRIES = st.lists(st.fixed_dictionaries({"rule": st.sampled_from("abcd"), "line": st.integers(1, 3)}), max_size=6)


def scored(metric, expected, answer, **row):
    return metric_of(Optimize(metric=metric), Engine(), None)(a_row("text", expected, **row), answer)


@pytest.mark.parametrize(
    ("expected", "answer", "score"),
    [
        ("fix", " fix\n", 1),
        ("fix", "Fix", 0),
        ({"a": 1, "b": [2.0]}, {"b": [2], "a": 1.0}, 1),
        ({"a": 1}, {"a": True}, 0),
        ([1, 2], [2, 1], 0),
        ("fix", None, 0),
    ],
)
def test_exact_compares_whole_values(expected, answer, score):
    assert scored("exact", expected, answer).score == score


def test_exact_says_what_was_expected_what_came_and_what_people_said():
    said = scored("exact", "fix", "docs", comment="it repairs a crash").feedback
    assert said == "Wrong: expected fix for the answer, came docs. People said: it repairs a crash"


@pytest.mark.parametrize("expected", [{"kind": {"name": "fix"}, "why": "x"}, "fix"])
def test_exact_field_compares_one_field_whether_the_label_is_a_map_or_the_value(expected):
    if isinstance(expected, str):
        assert scored({"exact": "kind"}, expected, {"kind": "fix", "why": "y"}).score == 1
    else:
        assert scored({"exact": "kind.name"}, expected, {"kind": {"name": "fix"}, "why": "y"}).score == 1


def test_an_answer_without_the_field_is_wrong_and_told_so():
    assert scored({"exact": "kind"}, {"kind": "fix"}, {"sort": "fix"}).feedback.endswith("for `kind`, came nothing.")


def test_f1_matches_by_the_named_fields_and_names_what_is_missing_and_what_is_too_much():
    wanted = {"findings": [{"rule": "a", "line": 1, "message": "x"}, {"rule": "b", "line": 2, "message": "y"}]}
    came = {"findings": [{"rule": "a", "line": 1, "message": "other words"}, {"rule": "c", "line": 9, "message": ""}]}
    result = scored({"f1": "findings", "by": ["rule", "line"]}, wanted, came)
    assert result.score == 0.5
    assert 'Missed: {"line": 2, "rule": "b"}' in result.feedback
    assert 'Not expected: {"line": 9, "rule": "c"}' in result.feedback


def test_f1_of_nothing_expected_and_nothing_found_is_one():
    assert scored({"f1": "findings"}, {"findings": []}, {"findings": []}).score == 1


def test_f1_of_an_answer_that_is_no_list_is_none_at_all():
    assert scored({"f1": "findings"}, {"findings": []}, {"findings": "none"}).score == 0


@given(ENTRIES, ENTRIES)
def test_f1_is_a_share_the_same_both_ways_and_one_only_for_equal_lists(one, other):
    there = scored({"f1": "x", "by": ["rule"]}, {"x": one}, {"x": other}).score
    back = scored({"f1": "x", "by": ["rule"]}, {"x": other}, {"x": one}).score
    assert 0 <= there <= 1
    assert there == back
    assert (there == 1) == (sorted(entry["rule"] for entry in one) == sorted(entry["rule"] for entry in other))


@given(ENTRIES, ENTRIES)
def test_one_more_right_entry_never_lowers_f1(one, other):
    missed = [entry for entry in one if entry not in other][:1]
    before = scored({"f1": "x"}, {"x": one}, {"x": other}).score
    assert scored({"f1": "x"}, {"x": one}, {"x": other + missed}).score >= before


def test_f1_without_a_list_in_the_label_is_an_error_that_names_the_row():
    with pytest.raises(InputError, match="expected a list in `findings` of the expected answer of row key-text"):
        scored({"f1": "findings"}, {"findings": "none"}, {"findings": []})


@pytest.mark.parametrize(
    ("expression", "score"), [("{{ answer == expected }}", 1), ("{{ 1 / (inputs.text | length) }}", 0.25)]
)
def test_an_expression_sees_inputs_answer_and_expected(expression, score):
    assert scored({"expression": expression}, "fix", "fix").score == score


def test_an_expression_sees_what_the_prompt_called_otherwise_under_inputs():
    row = replace(a_row("text"), inputs={"file.text": "abcd", "inputs.goal": "x"})
    metric = metric_of(
        Optimize(metric={"expression": "{{ inputs.file.text == answer and inputs.goal == 'x' }}"}), Engine(), None
    )
    assert metric(row, "abcd").score == 1


@pytest.mark.parametrize(
    "expression",
    [
        "{{ 1.5 }}",
        "{{ -0.1 }}",
        "{{ 'yes' }}",
        "{{ [1] }}",
        "{{ none }}",
        "{{ 1e308 * 10 }}",
        "{{ (1e308 * 10) - (1e308 * 10) }}",
        "{{ answer.missing.deeper }}",
        "{{ 1 / 0 }}",
        "about {{ 1 }}",
    ],
)
def test_an_expression_that_gives_no_mark_is_an_error_that_names_it(expression):
    with pytest.raises(ExpressionError) as caught:
        scored({"expression": expression}, "fix", {"kind": "fix"})
    assert expression in caught.value.message


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_whatever_a_metric_gets_it_gives_a_mark_or_an_error(value):
    metric = metric_of(Optimize(metric={"expression": "{{ answer }}"}), Engine(), None)
    try:
        score = metric(a_row("text"), value).score
    except ExpressionError:
        return
    assert 0 <= score <= 1


def test_a_row_nobody_labelled_cannot_be_compared():
    with pytest.raises(InputError, match="expected answer in row key-text"):
        scored("exact", None, "fix")


def test_a_judge_that_nobody_brought_is_missed():
    with pytest.raises(ElexirionError, match="a model that judges"):
        metric_of(Optimize(metric={"judge": {"prompt": "Good?"}}), Engine(), None)
