"""Which JSON Schemas mean the same in the strict forms of native structured output, and how they are written there."""

from collections.abc import Collection, Mapping

from elexirion_dagster.records import Json

_INEXPRESSIBLE = frozenset({"$ref", "allOf", "const", "if", "not", "oneOf", "patternProperties"})
_PLAIN_TYPES = frozenset({"string", "integer", "number", "boolean", "null"})


def is_plain(schema: Json, *, null_words: bool = False) -> bool:
    """Whether a strict form can say the same: it closes every object and knows no references.

    `null_words`: whether null may stand among the words of an enum.
    """
    if not isinstance(schema, Mapping) or _INEXPRESSIBLE & schema.keys():
        return False
    match schema:
        case {"anyOf": [*branches]}:
            parts = branches
        case {"enum": [*values]}:
            return all((null_words and value is None) or isinstance(value, str | int | float) for value in values)
        case {"type": [*kinds]}:
            parts = [{**schema, "type": kind} for kind in kinds]
        case {"type": "object", "properties": Mapping() as properties} if properties:
            parts = [*properties.values(), *([False] if schema.get("additionalProperties") else [])]
        case {"type": "array", "items": items}:
            parts = [items]
        case _:
            return schema.get("type") in _PLAIN_TYPES
    return all(is_plain(part, null_words=null_words) for part in parts)


def rewritten(schema: Mapping[str, Json], *, kept: Collection[str] | None = None) -> dict[str, Json]:
    """Rewrite what neither API knows: a list of types becomes `anyOf`. `kept`: the only other keys that stay."""
    kinds = schema.get("type")
    if isinstance(kinds, list):
        return {"anyOf": [rewritten({**schema, "type": kind}, kept=kept) for kind in kinds]}
    new = {name: value for name, value in schema.items() if kept is None or name in kept}
    if "properties" in schema:
        new["properties"] = {name: rewritten(inner, kept=kept) for name, inner in schema["properties"].items()}
    if "items" in schema:
        new["items"] = rewritten(schema["items"], kept=kept)
    if "anyOf" in schema:
        new["anyOf"] = [rewritten(branch, kept=kept) for branch in schema["anyOf"]]
    return new
