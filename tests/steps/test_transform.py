import json

import pytest

from elexirion_dagster.errors import PipelineError

PEOPLE = [
    {"name": "Ada", "age": 36, "tags": ["math", "code"]},
    {"name": "Bob", "age": 25, "tags": []},
    {"name": "Cy", "age": 36, "tags": ["code"]},
    {"name": "Dot", "tags": ["math"]},
]


@pytest.fixture
def apply(one):
    def apply(*ops, records=PEOPLE):
        text = (
            "inputs: {records: {type: list}}\n"
            "steps: [{name: t, type: transform, from: '{{ inputs.records }}', ops: %s}]"
        )
        return one(text % json.dumps(ops), records=records)

    return apply


def names(result):
    return [record["name"] for record in result.data]


def test_filter_keeps_what_the_condition_holds_for(apply):
    assert names(apply({"filter": "item.age is defined and item.age > 30"})) == ["Ada", "Cy"]


def test_map_makes_records_of_templates(apply):
    assert apply({"map": {"n": "{{ index }}", "who": "{{ item.name }}!"}}).data[1] == {"n": 1, "who": "Bob!"}
    assert apply({"map": "{{ item.name }}"}).data == ["Ada", "Bob", "Cy", "Dot"]


def test_sort_is_stable_and_puts_records_without_a_value_last(apply):
    assert names(apply({"sort": {"by": "age"}})) == ["Bob", "Ada", "Cy", "Dot"]
    assert names(apply({"sort": {"by": "age", "order": "desc"}})) == ["Ada", "Cy", "Bob", "Dot"]
    assert names(apply({"sort": {"by": "{{ item.name | length }}"}})) == ["Cy", "Ada", "Bob", "Dot"]


def test_values_that_have_no_order_are_refused(apply):
    result = apply({"sort": {"by": "x"}}, records=[{"x": 1}, {"x": "a"}])
    assert (result.error.cause, "cannot be ordered" in result.error.message) == ("bad_input", True)


def test_group_and_aggregate_give_figures_per_group(apply):
    figures = {"count": {"function": "count"}, "oldest": {"function": "max", "of": "age"}}
    result = apply({"group": {"by": "age"}}, {"sort": {"by": "key"}}, {"aggregate": figures})
    assert [(group["key"], group["count"], group["oldest"]) for group in result.data] == [
        (25, 1, 25),
        (36, 2, 36),
        (None, 1, None),
    ]


def test_aggregating_no_groups_gives_no_groups(apply):
    assert apply({"group": {"by": "age"}}, {"aggregate": {"n": {"function": "count"}}}, records=[]).data == []
    assert apply({"aggregate": {"n": {"function": "count"}}}, records=[]).data == {"n": 0}


def test_records_that_look_like_groups_are_not_taken_for_groups(apply):
    result = apply({"aggregate": {"n": {"function": "count"}}}, records=[{"key": 1, "items": [1, 2]}])
    assert result.data == {"n": 1}


@pytest.mark.parametrize(
    ("function", "expected"),
    [("sum", 97), ("min", 25), ("max", 36), ("mean", 97 / 3), ("first", 36), ("last", 36), ("list", [36, 25, 36])],
)
def test_figures_leave_out_records_without_the_field(apply, function, expected):
    assert apply({"aggregate": {"f": {"function": function, "of": "age"}}}).data == {"f": expected}


def test_a_sum_of_texts_is_refused(apply):
    assert apply({"aggregate": {"f": {"function": "sum", "of": "name"}}}).error.cause == "bad_input"


def test_flatten_joins_elements_to_their_record(apply):
    result = apply({"flatten": "tags"})
    assert [(record["name"], record["tags"]) for record in result.data] == [
        ("Ada", "math"),
        ("Ada", "code"),
        ("Cy", "code"),
        ("Dot", "math"),
    ]
    assert apply({"flatten": "age"}).error.cause == "bad_input"


def test_limit_keeps_the_first(apply):
    assert names(apply({"limit": 2})) == ["Ada", "Bob"]
    assert apply({"limit": 0}).data == []


def test_a_missing_field_names_the_record_that_lacks_it(apply):
    result = apply({"map": "{{ item.age }}"})
    assert result.error.cause == "bad_input"
    assert result.error.message.startswith("record 4: ")


@pytest.mark.parametrize(
    "hostile",
    [
        "{{ 'a' * 10**9 }}",
        "{{ range(10**9) | list }}",
        "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
        "{{ item.__class__.__mro__ }}",
        "{{ ''.__class__ }}",
        "{{ 9 ** (9 ** 9) }}",
    ],
)
def test_a_hostile_expression_is_refused(apply, hostile):
    assert apply({"map": hostile}, records=[{"x": 1}]).error.cause == "bad_input"


@pytest.mark.parametrize(
    ("ops", "why"),
    [
        ([{"aggregate": {"n": {"function": "count"}}}, {"limit": 1}], "no operation can follow"),
        ([{"aggregate": {"n": {"function": "sum"}}}], "needs `of`"),
        ([{"filter": None}], "exactly one of"),
        ([{"filter": "true", "limit": 1}], "exactly one of"),
        ([{}], "exactly one of"),
    ],
)
def test_operations_that_cannot_work_are_refused_at_load(apply, ops, why):
    with pytest.raises(PipelineError, match=why):
        apply(*ops)


def test_from_that_is_no_list_is_refused(one):
    assert (
        "must be a list" in one("steps: [{name: t, type: transform, from: '{{ 1 }}', ops: [{limit: 1}]}]").error.message
    )
