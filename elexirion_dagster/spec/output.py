"""The short form of an llm step's `output`, and the JSON Schema it stands for."""

from collections.abc import Iterator
from typing import Any

import re2  # type: ignore[import-untyped]  # google-re2 ships no types

from elexirion_dagster.records import Json

_WORDS = ("string", "integer", "number", "boolean", "object")
_KEYWORDS = frozenset(
    {
        *("type", "enum", "const", "properties", "required", "items", "anyOf", "additionalProperties"),
        *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "format"),
        *("description", "title", "default"),
    }
)


def json_schema(output: Json) -> dict[str, Json]:
    """The JSON Schema of a short form: `{findings: [{rule: string, severity: {enum: [low, high]}}]}`.

    A word is a type, `word?` may be null, a one-element list is an array, a map is an object whose keys are all
    required, a map of JSON Schema keywords (`{enum: …}`, `{type: string, minLength: 1}`) is taken as it is.
    Raises ValueError that says where the form is wrong.
    """
    if not isinstance(output, dict):
        raise ValueError("expected a map of field names to types, such as {summary: string}")  # noqa: TRY004 - shown to users
    schema = _schema(output, "output", closed=True)
    if schema.get("type") != "object":
        raise ValueError("output must describe an object, such as {summary: string}")
    return schema


def record_schema(form: Json) -> dict[str, Json]:
    """The JSON Schema of data that comes from elsewhere: any type, and objects may have more fields than are named.

    Raises ValueError that says where the form is wrong.
    """
    return _schema(form, "schema", closed=False)


def _schema(value: Json, where: str, *, closed: bool) -> dict[str, Any]:
    match value:
        case str():
            return _word(value, where)
        case [single]:
            return {"type": "array", "items": _schema(single, f"{where}[]", closed=closed)}
        case list():
            raise ValueError(f"{where}: a list has exactly one element, the type of its items")
        case dict() if value and _is_json_schema(value):
            _check_json_schema(value, where)
            return value
        case dict() if value:
            fields = {name: _schema(field, f"{where}.{name}", closed=closed) for name, field in value.items()}
            return {
                "type": "object",
                "properties": fields,
                "required": list(fields),
                "additionalProperties": not closed,
            }
    raise ValueError(f"{where}: expected a type ({', '.join(_WORDS)}), a one-element list or a map, got {value!r}")


def _is_json_schema(value: dict[str, Json]) -> bool:
    """Whether a map is JSON Schema already: only its keywords, and `type` (if any) names a JSON type."""
    if not set(value) <= _KEYWORDS:
        return False
    kind = value.get("type")
    if kind is None:
        return isinstance(value.get("enum"), list) or "const" in value or "anyOf" in value
    structural = set(value) - {"type"}
    return kind in (*_WORDS, "array", "null") and (bool(structural) or kind in ("array", "null"))


def _check_json_schema(schema: dict[str, Json], where: str) -> None:
    """Refuse what no answer could be checked against, before an answer is paid for."""
    # jsonschema takes 70 to 110 ms to import (measured); most documents use the short form and need none of it.
    from jsonschema import Draft202012Validator, SchemaError  # noqa: PLC0415

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"{where}: no JSON Schema: {error.message} at {error.json_path}") from error
    for pattern in _patterns(schema):
        try:
            re2.compile(pattern)
        except re2.error as error:
            raise ValueError(f"{where}: the pattern {pattern!r} cannot be used: no RE2 expression") from error


def check_instance(value: Json, schema: Json, where: str) -> None:
    """Raise ValueError that says where a value differs from what a schema asks for."""
    # jsonschema takes 70 to 110 ms to import (measured); most documents use the short form and need none of it.
    from jsonschema import Draft202012Validator  # noqa: PLC0415

    fault = next(Draft202012Validator(schema).iter_errors(value), None)
    if fault is not None:
        raise ValueError(f"{where} does not fit output: {fault.message} at {fault.json_path}")


def _patterns(schema: Json) -> Iterator[str]:
    if isinstance(schema, list):
        for part in schema:
            yield from _patterns(part)
    elif isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        for part in schema.values():
            yield from _patterns(part)


def _word(word: str, where: str) -> dict[str, Any]:
    name = word.removesuffix("?")
    if name not in _WORDS:
        raise ValueError(f"{where}: {word!r} is no type; the types are {', '.join(_WORDS)} (a trailing ? allows null)")
    return {"type": [name, "null"] if word.endswith("?") else name}
