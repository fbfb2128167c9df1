"""Whether rows stay where they belong."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learned import a_row, some_rows

from elexirion_dagster.errors import InputError
from elexirion_dagster.spec.learning import Optimize
from optimizer_assets.rows.splits import NEAR, PARTS, digest, part_of, split
from optimizer_assets.rows.texts import likeness, sketch

SETTINGS = Optimize(min_rows=30)
ROWS = some_rows(240)


def keys(rows):
    return {row.key for row in rows}


def test_the_parts_have_their_shares_and_every_row_is_in_one_of_them():
    made = split(ROWS, SETTINGS)
    assert len(made.train) + len(made.validation) + len(made.holdout) == len(ROWS)
    assert 0.3 < len(made.holdout) / len(ROWS) < 0.5
    assert made.dropped == {}


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(60, 200))
def test_a_row_of_the_holdout_never_comes_before_the_optimiser_when_rows_are_added(chance, first):
    rows = [*ROWS, *(a_row(f"{row.inputs['inputs.text']}.", row.expected) for row in chance.sample(ROWS, 30))]
    chance.shuffle(rows)
    held = split(rows[:first], SETTINGS).holdout
    after = split(rows, SETTINGS)
    assert not keys(held) & keys((*after.train, *after.validation))
    lost = keys(held) - keys(after.holdout)
    texts = {row.key: sketch(row.inputs["inputs.text"]) for row in rows}
    assert all(max(likeness(texts[key], texts[kept.key]) for kept in after.holdout) >= NEAR for key in lost)


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(chance):
    rows = list(ROWS)
    chance.shuffle(rows)
    assert split(rows, SETTINGS) == split(ROWS, SETTINGS)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=len(ROWS), max_size=len(ROWS)))
def test_rows_of_one_source_never_straddle(files):
    rows = [
        a_row(row.inputs["inputs.text"], row.expected, group=f"{file}.py")
        for row, file in zip(ROWS, files, strict=True)
    ]
    try:
        made = split(rows, SETTINGS)
    except InputError:
        return
    groups = [{row.group for row in getattr(made, part)} for part in PARTS]
    assert sum(map(len, groups)) == len(set().union(*groups))


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False))
def test_near_duplicates_never_straddle_nor_count_twice(chance):
    rows = list(ROWS[:120])
    for row in chance.sample(rows, 40):
        text = row.inputs["inputs.text"]
        rows.append(a_row(chance.choice([text.upper(), f"  {text}", f"{text}!", text + text[-1]]), row.expected))
    made = split(rows, SETTINGS)
    kept = [sketch(row.inputs["inputs.text"]) for part in PARTS for row in getattr(made, part)]
    assert max(likeness(one, other) for at, one in enumerate(kept) for other in kept[:at]) < NEAR
    assert sum(made.dropped.values()) >= 40


def test_a_text_that_all_rows_share_makes_no_duplicates():
    shared = [replace(row, inputs={**row.inputs, "inputs.rules": "Be kind. " * 200}) for row in ROWS]
    assert split(shared, SETTINGS).dropped == {}


def test_near_texts_with_different_answers_count_both_where_they_stay_together():
    text = "please add a test for the parser of dates"
    near = [a_row(text, "feature", group="one.py"), a_row(f"{text}!", "docs", group="one.py")]
    assert split([*ROWS, *near], SETTINGS).dropped == {}
    assert split([*ROWS, near[0], replace(near[1], expected="feature")], SETTINGS).dropped == {"near-duplicate": 1}


def test_must_pass_rows_stand_in_the_holdout():
    rows = [a_row(row.inputs["inputs.text"], row.expected, must_pass=at % 10 == 0) for at, row in enumerate(ROWS)]
    made = split(rows, SETTINGS)
    assert all(row in made.holdout for row in rows if row.must_pass)


def test_where_a_group_stands_is_fixed_for_ever():
    names = ("src/a.py", "src/b.py", "src/c.py", "src/d.py")
    assert [part_of(name) for name in names] == ["holdout", "holdout", "validation", "train"]


def test_a_digest_tells_rows_and_golds_apart_and_not_their_order():
    rows = ROWS[:5]
    assert digest(rows) == digest(rows[::-1])
    assert (
        len({digest(rows), digest(rows[:4]), digest([*rows[:4], a_row(rows[4].inputs["inputs.text"], "other")])}) == 3
    )


def refusal(rows, settings=SETTINGS):
    with pytest.raises(InputError) as caught:
        split(rows, settings)
    assert caught.value.mend
    return caught.value.message


def test_no_outcomes_are_refused_with_what_is_needed():
    assert "at least 30 outcomes" in refusal([])


def test_too_few_rows_are_refused_with_the_number_there_are_and_why():
    said = refusal([*ROWS[:20], *(a_row(f"nobody said {at}", None) for at in range(12))])
    assert "at least 30 usable rows, came 20 (of 32 rows: 12 unlabelled)" in said


def test_one_class_only_is_refused_by_its_name():
    assert '40 of one class only: "fix"' in refusal([a_row(row.inputs["inputs.text"], "fix") for row in ROWS[:40]])


def test_outcomes_that_all_failed_are_refused():
    rows = [a_row(row.inputs["inputs.text"], None, score=0.0, source="run", answer="x") for row in ROWS]
    assert "240 outcomes that all failed" in refusal(rows)


def test_contradictory_labels_are_refused_with_both():
    other = a_row(ROWS[0].inputs["inputs.text"], "revert", key="other")
    said = refusal([*ROWS, other])
    assert "1 input with contradictory labels" in said
    assert '"fix" and "revert"' in said


def test_runs_that_contradict_each_other_are_set_aside_and_counted():
    other = a_row(ROWS[0].inputs["inputs.text"], "revert", key="other", source="run")
    made = split([*ROWS, other], SETTINGS)
    assert made.dropped == {"contradictory": 2}
    assert ROWS[0].key not in keys((*made.train, *made.validation, *made.holdout))


def test_rows_of_one_source_cannot_be_divided():
    said = refusal([a_row(row.inputs["inputs.text"], row.expected, group="one.py") for row in ROWS])
    assert "240 rows stem from 1 source" in said


def test_a_metric_that_needs_no_gold_takes_rows_without_one():
    rows = [a_row(row.inputs["inputs.text"], None) for row in ROWS]
    made = split(rows, Optimize(metric={"expression": "{{ answer | length < 9 }}"}))
    assert made.dropped == {}


def test_a_row_without_the_field_that_the_metric_compares_is_named():
    rows = [a_row(row.inputs["inputs.text"], {"kind": row.expected}) for row in ROWS]
    assert "the field `sort`" in refusal(rows, Optimize(metric={"exact": "sort"}))


def test_likeness_is_that_of_the_sets_and_survives_sampling():
    chance = random.Random(7)  # noqa: S311 - no secrets
    letters = ["".join(chance.choices("abcdefghij ", k=4000)) for _ in range(2)]
    assert likeness(sketch(letters[0]), sketch(letters[1])) < 0.2
    assert likeness(sketch(letters[0]), sketch(letters[0][:3900])) > 0.9
    assert likeness(sketch("Fix  the Parser"), sketch("fix the parser")) == 1
