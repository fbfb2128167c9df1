"""Their ways to say what an answer looks like, as the schema of an `output`."""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from elexirion_dagster.dialects.pipeline_ex.notes import Notes, Path
from elexirion_dagster.records import Json

_KEPT = (
    *("type", "enum", "const", "properties", "required", "items", "anyOf", "additionalProperties", "minimum"),
    *("maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "format", "description", "title"),
)
_SHAPES: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {"properties": (dict,), "required": (list, bool), "items": (dict, str, list, bool), "anyOf": (list,)}
)
_ALIASES = MappingProxyType({"min_length": "minLength", "max_length": "maxLength", "oneOf": "anyOf"})
_NAMES: Mapping[str, str] = MappingProxyType(
    {
        **{word: word for word in ("string", "integer", "number", "boolean", "object", "array", "null")},
        "text": "string",
        "str": "string",
        "date": "string",
        "datetime": "string",
        "int": "integer",
        "float": "number",
        "decimal": "number",
        "bool": "boolean",
        "map": "object",
        "dict": "object",
        "hash": "object",
        "list": "array",
    }
)
ANY: Mapping[str, Json] = MappingProxyType(
    {"anyOf": [{"type": word} for word in ("string", "number", "boolean", "object", "array", "null")]}
)
"""Any value at all."""


def output_schema(schema: Json, path: Path, notes: Notes) -> Json:
    """The JSON Schema of an object for `output`; a schema of something else is put under the key `items` or `value`."""
    found = _schema(schema, path, notes)
    if found.get("type") == "object" or "properties" in found:
        return {"type": "object", **found} if found.get("properties") else {**found, "additionalProperties": True}
    key = "items" if found.get("type") == "array" else "value"
    notes.add(path, f"an answer is an object here, so what the schema describes stands under its key {key!r}")
    return {"type": "object", "properties": {key: found}, "required": [key]}


def of_functions(functions: Iterable[tuple[str, Mapping[str, Json]]], path: Path, notes: Notes) -> Json:
    """The schema of an answer that takes the place of function calls: the parameters of all functions."""
    properties: dict[str, Json] = {}
    required: list[set[str]] = []
    names = []
    for name, function in functions:
        names.append(name)
        parameters = _schema(function.get("parameters") or {"type": "object"}, path, notes)
        properties |= parameters.get("properties") or {}
        required.append(set(parameters.get("required") or ()))
    if not properties:
        return None
    always = set.intersection(*required)
    said = f"the parameters of {', '.join(names)} are the typed answer (`output`), checked; no function is called"
    notes.add(path, said)
    return {"type": "object", "properties": properties, "required": [name for name in properties if name in always]}


def _schema(schema: Json, path: Path, notes: Notes) -> dict[str, Json]:
    match schema:
        case str():
            return _word(schema, path, notes)
        case [single]:
            return {"type": "array", "items": _schema(single, path, notes)}
        case dict() if _is_json_schema(schema):
            return _kept(schema, path, notes)
        case dict() if schema:
            fields = {str(name): _schema(field, path, notes) for name, field in schema.items()}
            return {"type": "object", "properties": fields, "required": list(fields)}
        case list():
            return {"type": "array"}
    notes.refuse(path, f"expected a schema, got {schema!r:.60}", "Write a map of field names to types.")
    return dict(ANY)


def _word(word: str, path: Path, notes: Notes) -> dict[str, Json]:
    plain = word.strip().lower()
    found = re.match(r"[a-z]+", plain)
    base = found[0] if found else ""
    if base in _NAMES:
        return {"type": _NAMES[base]}
    notes.add(path, f"{word!r} is no type; it is taken as the description of a value of any type")
    return {**ANY, "description": word}


def _typed(kind: Json, path: Path, notes: Notes) -> dict[str, Json]:
    """A `type`, or a list of them."""
    if isinstance(kind, list):
        return {"anyOf": [_word(str(word), path, notes) for word in kind]}
    return _word(str(kind), path, notes)


def _is_json_schema(schema: Mapping[str, Json]) -> bool:
    kind = schema.get("type")
    typed = isinstance(kind, str) and kind in _NAMES and not isinstance(schema.get("properties", {}), str)
    several = isinstance(kind, list) and all(isinstance(word, str) for word in kind)
    return typed or several or any(isinstance(schema.get(key), dict | list) for key in ("properties", "anyOf", "enum"))


def _kept(schema: Mapping[str, Json], path: Path, notes: Notes) -> dict[str, Json]:
    kept: dict[str, Json] = {}
    for key, value in schema.items():
        name = _ALIASES.get(key, key)
        wanted = _SHAPES.get(name)
        if wanted is not None and not isinstance(value, wanted):
            notes.refuse(path, f"the schema's {key} cannot be {value!r:.60}", "See JSON Schema for its form.")
        elif name not in _KEPT:
            notes.add(path, f"the schema's keyword {key!r} is not checked", key=key)
        elif name == "properties":
            kept[name] = {field: _schema(inner, path, notes) for field, inner in value.items()}
        elif name == "items":
            kept[name] = dict(ANY) if isinstance(value, bool) else _schema(value, path, notes)
        elif name == "anyOf":
            kept[name] = [_schema(inner, path, notes) for inner in value]
        elif name == "type":
            kept |= _typed(value, path, notes)
        elif name == "required" and isinstance(value, bool):
            notes.add(path, "`required: true` on a field says what is the case for every field listed", key=key)
        elif name == "required":
            kept[name] = [str(field) for field in value]
        else:
            kept[name] = value
    return kept
