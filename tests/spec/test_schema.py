import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from elexirion_dagster.spec.output import json_schema
from elexirion_dagster.spec.schema import editor_schema
from elexirion_dagster.yamlio import load_file

REPOSITORY = Path(__file__).parents[2]
SHIPPED = sorted((REPOSITORY / "pipelines_yaml").glob("*.yaml"))


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(json.dumps(editor_schema()))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_pipeline_fits_the_schema(validator, path):
    assert [error.message for error in validator.iter_errors(load_file(path).data)] == []


@pytest.mark.parametrize(
    "change",
    [
        {"naem": "x"},
        {"steps": [{"name": "s", "type": "set", "vars": {"x": 1}, "wehn": True}]},
        {"steps": [{"name": "s", "type": "nothing"}]},
        {"steps": [{"name": "S", "type": "set", "vars": {"x": 1}}]},
        {"steps": [{"name": "s", "type": "files", "list_": {}}]},
        {"steps": []},
        {"budget": {"usd": "much"}},
        {"inputs": {"x": {"type": "text"}}},
    ],
)
def test_what_the_loader_refuses_the_schema_refuses_too(validator, change):
    good = {"name": "p", "steps": [{"name": "s", "type": "set", "vars": {"x": 1}}]}
    assert validator.is_valid(good)
    assert not validator.is_valid({**good, **change})


def test_every_key_is_explained(validator):
    schema = validator.schema
    parts = {"Pipeline": schema, **schema["$defs"]}
    bare = [
        f"{part}.{key}"
        for part, body in parts.items()
        for key, field in body.get("properties", {}).items()
        if "description" not in field and key != "type"
    ]
    assert bare == []


@pytest.mark.parametrize(
    ("short", "schema"),
    [
        ({"a": "string"}, {"a": {"type": "string"}}),
        ({"a": "integer?"}, {"a": {"type": ["integer", "null"]}}),
        ({"a": ["number"]}, {"a": {"type": "array", "items": {"type": "number"}}}),
        ({"a": {"enum": ["x", "y"]}}, {"a": {"enum": ["x", "y"]}}),
        ({"a": {"type": "string", "minLength": 1}}, {"a": {"type": "string", "minLength": 1}}),
    ],
)
def test_the_short_form_stands_for_a_closed_object(short, schema):
    assert json_schema(short) == {
        "type": "object",
        "properties": schema,
        "required": ["a"],
        "additionalProperties": False,
    }


def test_a_field_may_be_called_type():
    assert json_schema({"type": "string", "value": "string"})["required"] == ["type", "value"]


@pytest.mark.parametrize(
    "wrong", ["string", [], {}, {"a": []}, {"a": ["x", "y"]}, {"a": "text"}, {"a": 1}, {"enum": ["x"]}]
)
def test_what_is_no_short_form_is_refused(wrong):
    with pytest.raises(ValueError, match=r"expected|exactly one|no type|must describe"):
        json_schema(wrong)
