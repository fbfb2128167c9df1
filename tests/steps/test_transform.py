import pytest
from applied import names

from elexirion_dagster.errors import PipelineError


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


def test_a_condition_may_be_compound_and_look_inside(apply):
    records = [{"a": {"b": 1}, "c": "x"}, {"a": {"b": 5}, "c": "y"}, {"a": {"b": 7}, "c": "x"}]
    assert apply({"filter": "item.a.b > 3 and (item.c == 'x' or item.a.b == 5)"}, records=records).data == records[1:]
    assert apply({"filter": "not item.a.b > 3 and 'x' in item.c"}, records=records).data == records[:1]
    assert apply({"filter": "item.a.z is defined or item.c == 'y'"}, records=records).data == records[1:2]


@pytest.mark.parametrize("condition", ["item.nope == 1", "item.a.nope and item.a.b", "item.a.b > 3 and item.nope"])
def test_a_condition_on_a_field_that_is_missing_is_an_error_and_not_false(apply, condition):
    result = apply({"filter": condition}, records=[{"a": {"b": 5}}])
    assert result.error.cause == "bad_input"
    assert result.error.message.startswith("record 1: ")
    assert "has no field 'nope'" in result.error.message


def test_sort_takes_several_keys(apply):
    ops = {
        "sort": [{"by": "age", "order": "desc"}, {"by": "{{ item.name | length }}"}, {"by": "name", "order": "desc"}]
    }
    assert names(apply(ops)) == ["Cy", "Ada", "Bob", "Dot"]
    records = [{"g": g, "n": n} for g in (2, 1) for n in (1, None, 3, 2)]
    result = apply({"sort": [{"by": "g"}, {"by": "n", "order": "desc"}]}, records=records)
    assert [(record["g"], record["n"]) for record in result.data] == [
        *((1, 3), (1, 2), (1, 1), (1, None)),
        *((2, 3), (2, 2), (2, 1), (2, None)),
    ]


@pytest.mark.parametrize(
    "op",
    [
        {"sort": {"by": "aeg"}},
        {"group": {"by": "aeg"}},
        {"unique": {"by": "aeg"}},
        {"aggregate": {"n": {"function": "sum", "of": "aeg"}}},
        {"join": {"with": [{"age": 1}], "on": {"left": "aeg", "right": "age"}}},
        {"join": {"with": [{"age": 1}], "on": {"left": "age", "right": "aeg"}}},
    ],
)
def test_a_field_that_no_record_has_is_taken_for_a_slip(apply, op):
    error = apply(op).error
    assert error.cause == "bad_input"
    assert "no record has the field 'aeg'" in error.message
    assert "did you mean 'age'?" in error.message


def test_unique_keeps_the_first_of_equal_records(apply):
    assert names(apply({"unique": {"by": "age"}})) == ["Ada", "Bob", "Dot"]
    records = [{"a": 1, "b": [1]}, {"b": [1.0], "a": 1}, {"a": True, "b": [1]}, 1, True, "1", None, 1.0]
    assert apply({"unique": True}, records=records).data == [records[0], *records[2:7]]


def test_groups_tell_values_apart_as_json_does(apply):
    records = [{"k": {"a": 1, "b": 2}}, {"k": {"b": 2, "a": 1.0}}, {"k": 1}, {"k": True}, {"k": "1"}]
    result = apply({"group": {"by": "k"}}, {"aggregate": {"n": {"function": "count"}}}, records=records)
    assert [group["n"] for group in result.data] == [2, 1, 1, 1]


@pytest.mark.parametrize(
    ("function", "expected"),
    [("count", 4), ("count_distinct", 3), ("median", 2.5), ("mean", 3.25), ("stddev", 1.8929694486000912)],
)
def test_figures_are_of_the_records_that_have_a_value(apply, function, expected):
    records = [{"n": 2}, {"n": 2.0}, {"n": 6}, {"n": 3}, {"n": None}, {}]
    result = apply({"aggregate": {"f": {"function": function, "of": "n"}}}, records=records)
    assert result.data["f"] == pytest.approx(expected)


@pytest.mark.parametrize("function", ["mean", "median", "stddev", "min", "first"])
def test_a_figure_over_nothing_is_null(apply, function):
    assert apply({"aggregate": {"f": {"function": function, "of": "n"}}}, records=[]).data == {"f": None}


def test_a_figure_that_cannot_be_computed_names_the_record(apply):
    sums = {"aggregate": {"f": {"function": "sum", "of": "n"}}}
    error = apply(sums, records=[{"n": 1}, {"n": "2"}]).error
    assert "record 2: sum of n wants a number, got a text" in error.message
    error = apply(
        {"group": {"by": "g"}}, sums, records=[{"g": "a", "n": 1}, {"g": "b", "n": 1}, {"g": "b", "n": []}]
    ).error
    assert "record 2 of the group 'b': sum of n" in error.message
