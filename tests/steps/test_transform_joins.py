"""Joins, paths into records, and schemas."""

import pytest
from applied import PEOPLE, names

from elexirion_dagster.errors import PipelineError

BOOKS = [{"id": 1, "title": "One"}, {"id": 2, "title": "Two"}, {"id": None, "title": "None"}, {"title": "Lost"}]


LOANS = [{"id": 2, "to": "Ada"}, {"id": 2.0, "to": "Bob"}, {"id": 9, "to": "Cy"}, {"id": None, "to": "Dot"}]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("inner", [("Two", "Ada"), ("Two", "Bob")]),
        ("left", [("One", None), ("Two", "Ada"), ("Two", "Bob"), ("None", None), ("Lost", None)]),
        ("right", [("Two", "Ada"), ("Two", "Bob"), (None, "Cy"), (None, "Dot")]),
        (
            "full",
            [
                ("One", None),
                ("Two", "Ada"),
                ("Two", "Bob"),
                ("None", None),
                ("Lost", None),
                (None, "Cy"),
                (None, "Dot"),
            ],
        ),
    ],
)
def test_joins_give_every_pair_and_null_where_there_is_none(apply, how, expected):
    result = apply({"join": {"with": LOANS, "on": "id", "how": how}}, records=BOOKS)
    assert [(record["title"], record["to"]) for record in result.data] == expected


def test_semi_and_anti_joins_choose_records(apply):
    assert apply({"join": {"with": LOANS, "on": "id", "how": "semi"}}, records=BOOKS).data == BOOKS[1:2]
    assert apply({"join": {"with": LOANS, "on": "id", "how": "anti"}}, records=BOOKS).data == [BOOKS[0], *BOOKS[2:]]


def test_a_join_fills_in_what_a_record_lacks_or_keeps_the_other_whole(apply):
    on = {"left": "id", "right": "{{ item.id }}"}
    others = [{"id": 1, "title": "Uno", "year": 1}]
    assert apply({"join": {"with": others, "on": on}}, records=BOOKS).data == [{"id": 1, "title": "One", "year": 1}]
    nested = apply({"join": {"with": others, "on": on, "how": "left", "as": "other"}}, records=BOOKS[:2]).data
    assert nested == [{**BOOKS[0], "other": others[0]}, {**BOOKS[1], "other": None}]


def test_a_join_reads_the_step_it_refers_to(start):
    results = start(
        "steps:\n"
        "- {name: b, type: set, vars: {list: [{k: 1, v: 2}]}}\n"
        "- {name: a, type: transform, from: [{k: 1}], ops: [{join: {with: '{{ steps.b.data.list }}', on: k}}]}\n"
    ).all()
    assert results["a"].data == [{"k": 1, "v": 2}]


def test_a_join_that_would_explode_is_refused_before_it_does(apply):
    many = [{"k": 1}] * 1000
    error = apply({"join": {"with": many, "on": "k"}}, records=many).error
    assert "would make 1,000,000 records, at most 500,000" in error.message


def test_large_lists_are_joined_by_hash(apply):
    records = [{"k": index, "a": index} for index in range(50_000)]
    result = apply(
        {"join": {"with": "{{ inputs.records }}", "on": "k"}},
        {"aggregate": {"n": {"function": "count"}, "s": {"function": "sum", "of": "a"}}},
        records=records,
    )
    assert result.data == {"n": 50_000, "s": 50_000 * 49_999 // 2}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("name", ["a", "b"]),
        ("at.line", [3, 4]),
        ("hits[*].text", ["x", "y", "z"]),
        ("hits[-1].text", ["y", "z"]),
        ("hits[0]", [{"text": "x", "fix": {"to": 1}}, {"text": "z", "fix": None}]),
        ("hits[*].fix?.to", [1]),
        ('["odd name"]?', [9]),
        ("hits[*].tags?[*]", []),
    ],
)
def test_extract_follows_a_path(apply, path, expected):
    records = [
        {"name": "a", "at": {"line": 3}, "hits": [{"text": "x", "fix": {"to": 1}}, {"text": "y"}], "odd name": 9},
        {"name": "b", "at": {"line": 4}, "hits": [{"text": "z", "fix": None}]},
    ]
    assert apply({"extract": path}, records=records).data == expected


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (
            "hits[*].txt",
            "record 2: extract hits[*].txt: it.hits[0] has no field 'txt' (it has: text); did you mean 'text'?",
        ),
        ("hits[1]", "record 1: extract hits[1]: it.hits has 0 entries, there is no entry 1"),
        ("name[*]", "it.name is a text, and [*] wants a list"),
        ("name.x?", "it.name is a text and has no field 'x'"),
    ],
)
def test_what_a_path_does_not_lead_to_is_an_error(apply, path, why):
    records = [{"name": "a", "hits": []}, {"name": "b", "hits": [{"text": "z"}]}]
    assert why in apply({"extract": path}, records=records).error.message


SCHEMA = {"name": "string", "age": "integer", "tags": ["string"]}


def test_records_that_do_not_fit_their_schema_fail_the_step(apply):
    error = apply({"validate": {"schema": SCHEMA}}).error
    assert error.cause == "check_failed"
    assert '1 of 4 records do not fit the schema: record 4: at $ expected the keys ["age"]' in error.message
    assert apply({"validate": {"schema": {"name": "string"}}}).data == PEOPLE


def test_records_that_do_not_fit_their_schema_are_dropped_or_marked_if_wished(apply):
    dropped = apply({"validate": {"schema": SCHEMA, "on_error": "drop"}})
    assert names(dropped) == ["Ada", "Bob", "Cy"]
    assert dropped.metadata["invalid_dropped"] == 1
    marked = apply({"validate": {"schema": SCHEMA, "on_error": "mark"}}).data
    assert [record["valid"] for record in marked] == [True, True, True, False]
    assert [record["problem"] is None for record in marked] == [True, True, True, False]


def test_a_schema_may_be_of_any_type(apply):
    schema = {"type": "string", "pattern": "^[a-z]+$"}
    result = apply({"validate": {"schema": schema, "on_error": "drop"}}, records=["a", "B", 1, "c"])
    assert result.data == ["a", "c"]
    assert (
        "only maps can be marked"
        in apply({"validate": {"schema": "string", "on_error": "mark"}}, records=["a"]).error.message
    )


@pytest.mark.parametrize(
    ("op", "why"),
    [
        ({"extract": "a..b"}, "cannot be read"),
        ({"unique": False}, "unique"),
        ({"sort": []}, "sort"),
        ({"sort": [{"by": "{{ nowhere }}"}]}, "nowhere"),
        ({"join": {"on": "a"}}, "with"),
        ({"join": {"with": "{{ steps.nowhere.data }}", "on": "a"}}, "nowhere"),
        ({"join": {"with": "{{ item.x }}", "on": "a"}}, "item"),
        ({"join": {"with": [], "on": "a", "how": "outer"}}, "how"),
        ({"join": {"with": [], "on": "a", "how": "semi", "as": "b"}}, "`as` has no meaning"),
        ({"validate": {"schema": {"a": "text"}}}, "is no type"),
        ({"validate": {"schema": {"a": {"type": "string", "pattern": "("}}}}, "pattern"),
        ({"aggregate": {"n": {"function": "median"}}}, "needs `of`"),
    ],
)
def test_an_operation_that_cannot_work_is_refused_at_load(apply, op, why):
    with pytest.raises(PipelineError, match=why):
        apply(op)
