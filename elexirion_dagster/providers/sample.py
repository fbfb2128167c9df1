"""A smallest valid instance of a JSON Schema, always the same one: what the fake model answers with."""

from collections.abc import Callable, Mapping
from math import ceil, floor
from types import MappingProxyType

from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.records import Json

_MAX_DEPTH = 40
_FORMATS = MappingProxyType(
    {
        "date": "2000-01-01",
        "date-time": "2000-01-01T00:00:00Z",
        "time": "00:00:00Z",
        "email": "fake@example.org",
        "uri": "https://example.org/",
        "uuid": "00000000-0000-4000-8000-000000000000",
    }
)
_IMPLIED_TYPES = MappingProxyType(
    {
        "properties": "object",
        "required": "object",
        "items": "array",
        "prefixItems": "array",
        "minItems": "array",
        "minLength": "string",
        "pattern": "string",
        "format": "string",
        "minimum": "number",
        "exclusiveMinimum": "number",
        "multipleOf": "number",
    }
)


def smallest_instance(schema: Mapping[str, Json]) -> Json:
    """Build an instance with required properties only.

    Raises ProviderError (bad_input) for what it cannot invent: text for a `pattern`, an endless schema.
    """
    return _sample(schema, schema, 0)


def _sample(schema: Json, root: Mapping[str, Json], depth: int) -> Json:
    if not isinstance(schema, Mapping):
        return None
    whole = _joined(schema, root, depth)
    if "const" in whole:
        return whole["const"]
    if "enum" in whole:
        return whole["enum"][0]
    return _MAKERS[_type_of(whole)](whole, root, depth)


def _joined(schema: Mapping[str, Json], root: Mapping[str, Json], depth: int) -> Mapping[str, Json]:
    """Fold `$ref`, `allOf` and the first `anyOf`/`oneOf` branch into one schema."""
    if depth > _MAX_DEPTH:
        raise _cannot(f"a schema that is still open at depth {_MAX_DEPTH}")
    parts = [_resolved(schema["$ref"], root)] if "$ref" in schema else []
    parts += [*schema.get("allOf", ()), *schema.get("anyOf", ())[:1], *schema.get("oneOf", ())[:1]]
    if not parts:
        return schema
    merged = {key: value for key, value in schema.items() if key not in ("$ref", "allOf", "anyOf", "oneOf")}
    for part in parts:
        merged = _merged(merged, _joined(part, root, depth + 1))
    return merged


def _merged(first: Mapping[str, Json], second: Mapping[str, Json]) -> dict[str, Json]:
    both = {**first, **second}
    if "properties" in first and "properties" in second:
        both["properties"] = {**first["properties"], **second["properties"]}
    if "required" in first and "required" in second:
        both["required"] = [*first["required"], *second["required"]]
    return both


def _resolved(ref: str, root: Mapping[str, Json]) -> Mapping[str, Json]:
    target: Json = root
    for part in ref.removeprefix("#").split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(target, Mapping) or name not in target:
            raise _cannot(f"a reference to {ref!r}, which the schema does not hold")
        target = target[name]
    return target if isinstance(target, Mapping) else {}


def _type_of(schema: Mapping[str, Json]) -> str:
    given = schema.get("type")
    if given is None:
        return next((kind for word, kind in _IMPLIED_TYPES.items() if word in schema), "null")
    return str(given if isinstance(given, str) else given[0])


def _object(schema: Mapping[str, Json], root: Mapping[str, Json], depth: int) -> Json:
    properties = schema.get("properties", {})
    return {name: _sample(properties.get(name, {}), root, depth + 1) for name in schema.get("required", ())}


def _array(schema: Mapping[str, Json], root: Mapping[str, Json], depth: int) -> Json:
    first = schema.get("prefixItems", ())
    rest = schema.get("items", {})
    return [
        _sample(first[index] if index < len(first) else rest, root, depth + 1)
        for index in range(schema.get("minItems", 0))
    ]


def _string(schema: Mapping[str, Json], _root: Mapping[str, Json], _depth: int) -> Json:
    if "pattern" in schema:
        raise _cannot(f"text for the pattern {schema['pattern']!r}")
    text = _FORMATS.get(schema.get("format", ""), "fake")[: schema.get("maxLength")]
    return text.ljust(schema.get("minLength", 0), "x")


def _integer(schema: Mapping[str, Json], _root: Mapping[str, Json], _depth: int) -> Json:
    low = max(ceil(schema.get("minimum", 0)), floor(schema.get("exclusiveMinimum", -1)) + 1)
    step = schema.get("multipleOf", 1)
    if "minimum" not in schema and "exclusiveMinimum" not in schema:
        low = min(0, floor(schema.get("maximum", 0)), ceil(schema.get("exclusiveMaximum", 1)) - 1)
        return floor(low / step) * step
    return ceil(low / step) * step


def _number(schema: Mapping[str, Json], root: Mapping[str, Json], depth: int) -> Json:
    low, high = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum", schema.get("maximum"))
    if low is not None and high is not None and "multipleOf" not in schema:
        return (low + high) / 2
    if "minimum" in schema and "multipleOf" not in schema and low is None:
        return schema["minimum"]
    return _integer(schema, root, depth)


def _boolean(_schema: Mapping[str, Json], _root: Mapping[str, Json], _depth: int) -> Json:
    return False


def _null(_schema: Mapping[str, Json], _root: Mapping[str, Json], _depth: int) -> Json:
    return None


_MAKERS: Mapping[str, Callable[[Mapping[str, Json], Mapping[str, Json], int], Json]] = MappingProxyType(
    {
        "object": _object,
        "array": _array,
        "string": _string,
        "integer": _integer,
        "number": _number,
        "boolean": _boolean,
        "null": _null,
    }
)


def _cannot(what: str) -> ProviderError:
    return ProviderError(
        f"expected an output schema that the fake model can invent an answer for, came {what}",
        cause="bad_input",
        mend="Give the fake model a rule with the data it should answer.",
    )
