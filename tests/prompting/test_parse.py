import contextlib
import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elexirion_dagster.errors import InputError
from elexirion_dagster.prompting.parse import MalformedOutput, parse, repair_text

FINDINGS = {
    "type": "object",
    "properties": {
        "findings": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"line": {"type": "integer"}, "severity": {"enum": ["low", "high"]}},
                "required": ["line", "severity"],
            },
        }
    },
    "required": ["findings"],
}
ANY_OBJECT = {"type": "object"}


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        '  {"a": 1}\n',
        '```json\n{"a": 1}\n```',
        '```\n{"a": 1}\n```',
        'Here you are:\n```json\n{"a": 1}\n```\nAnything else?',
        '```python\nx = {}\n```\n```json\n{"a": 1}\n```',
        'I looked at [the file] and {it} says: {"a": 1}',
        'Note [1]: {"a": 1} as asked.',
    ],
)
def test_the_one_value_of_a_reply_is_found(text):
    assert parse(text, ANY_OBJECT) == {"a": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "an empty reply"),
        ("I would rather not.", "text without one"),
        ('{"a": 1} {"a": 2}', "came 2"),
        ('first {"a": 1} then {"a": 2}', "came 2"),
        ('```json\n{"a": 1}\n```\n```json\n{"a": 2}\n```', "2 fenced blocks"),
        ('{"a": 1,}', "line 1 column"),
        ('{"a": 1', "line 1 column"),
        ('```json\n{"a": \n```', "syntax error"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "Infinity"),
        ('{"a": 1e999}', "finite"),
        ('{"a": 1, "a": 2}', '"a" twice'),
        ('{"a": "\\ud800"}', "surrogate"),
        ('{"\\ud800": 1}', "surrogate"),
        ('{"a": ' + "9" * 5000 + "}", "5000 digits"),
        ('{"a": ' + "[" * 100 + "]" * 100 + "}", "levels of nesting"),
        ('{"a": ' + "[" * 200_000 + "]" * 200_000 + "}", "levels of nesting"),
        ("x" * 5_000_001, "bytes"),
        ("[1]", "type object"),
    ],
)
def test_anything_else_is_refused_with_what_was_expected(text, said):
    with pytest.raises(MalformedOutput, match=said) as caught:
        parse(text, ANY_OBJECT)
    assert caught.value.cause == "malformed_output"


def test_a_wrong_field_is_named_by_its_path():
    with pytest.raises(MalformedOutput) as caught:
        parse('{"findings": [{"line": 1, "severity": "low"}, {"line": "3", "severity": "odd"}, {}]}', FINDINGS)
    assert caught.value.problems == (
        'at $.findings[1].line expected type integer, came "3"',
        'at $.findings[1].severity expected one of ["low", "high"], came "odd"',
        'at $.findings[2] expected the keys ["line", "severity"], came {}',
    )


def test_the_repair_turn_repeats_every_problem():
    with pytest.raises(MalformedOutput) as caught:
        parse('{"findings": [{}]}', FINDINGS)
    assert all(problem in repair_text(caught.value) for problem in caught.value.problems)


def test_a_schema_that_is_none_is_the_callers_fault():
    with pytest.raises(InputError, match="JSON Schema"):
        parse("{}", {"type": "thing"})


def test_a_pattern_cannot_hang_on_a_hostile_reply():
    schema = {"type": "string", "pattern": "^(a+)+$"}
    done = threading.Event()

    def attempt():
        with pytest.raises(MalformedOutput, match="pattern"):
            parse(json.dumps("a" * 5000 + "!"), schema)
        done.set()

    threading.Thread(target=attempt, daemon=True).start()
    assert done.wait(30)


def test_many_openers_do_not_take_quadratic_time():
    with pytest.raises(MalformedOutput):
        parse("see " + '{"a":' * 500_000, ANY_OBJECT)


def test_schemas_do_not_reach_for_the_network():
    with pytest.raises(InputError, match=r"example\.invalid"):
        parse("{}", {"$ref": "http://example.invalid/schema.json"})


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON_VALUES)
def test_every_json_value_comes_back_as_it_was(value):
    assert parse(json.dumps(value), {}) == value


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=3))
def test_a_fence_changes_nothing(value):
    assert parse(f"Sure.\n```json\n{json.dumps(value, indent=1)}\n```", ANY_OBJECT) == value


@given(st.text())
def test_no_text_raises_anything_but_the_one_error(text):
    with contextlib.suppress(MalformedOutput):
        parse(text, {})
