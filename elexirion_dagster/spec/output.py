"""The short form of an llm step's `output`, and the JSON Schema it stands for."""

from typing import Any

from elexirion_dagster.records import Json

_WORDS = ("string", "integer", "number", "boolean", "object")
_KEYWORDS = frozenset(
    "type enum const properties required items anyOf description minimum maximum minLength maxLength minItems maxItems "
    "additionalProperties pattern format title default".split()
)


def json_schema(output: Json) -> dict[str, Json]:
    """The JSON Schema of a short form: `{findings: [{rule: string, severity: {enum: [low, high]}}]}`.

    A word is a type, `word?` may be null, a one-element list is an array, a map is an object whose keys are all
    required, a map of JSON Schema keywords (`{enum: …}`, `{type: string, minLength: 1}`) is taken as it is.
    Raises ValueError that says where the form is wrong.
    """
    if not isinstance(output, dict):
        raise ValueError("expected a map of field names to types, such as {summary: string}")  # noqa: TRY004 - shown to users
    schema = _schema(output, "output")
    if schema.get("type") != "object":
        raise ValueError("output must describe an object, such as {summary: string}")
    return schema


def _schema(value: Json, where: str) -> dict[str, Any]:
    match value:
        case str():
            return _word(value, where)
        case [single]:
            return {"type": "array", "items": _schema(single, f"{where}[]")}
        case list():
            raise ValueError(f"{where}: a list has exactly one element, the type of its items")
        case dict() if value and _is_json_schema(value):
            return value
        case dict() if value:
            fields = {name: _schema(field, f"{where}.{name}") for name, field in value.items()}
            return {
                "type": "object",
                "properties": fields,
                "required": list(fields),
                "additionalProperties": False,
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


def _word(word: str, where: str) -> dict[str, Any]:
    name = word.removesuffix("?")
    if name not in _WORDS:
        raise ValueError(f"{where}: {word!r} is no type; the types are {', '.join(_WORDS)} (a trailing ? allows null)")
    return {"type": [name, "null"] if word.endswith("?") else name}
