"""A request in the older form of generateContent, which `google-generativeai` knows: no JSON Schema, no thinking."""

from collections.abc import Mapping

from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.gemini_body import content_body, model_path, native_schema
from elexirion_dagster.providers.schema_text import with_schema
from elexirion_dagster.records import Json, Request, Tool

_KEPT = frozenset({"description", "minItems", "maxItems", "required"})


def legacy_body(request: Request) -> dict[str, Json]:
    """Build the request; an output schema that the older form cannot express stands in the system text instead.

    Thinking is not sent back: the older form has no place for it. Raises ProviderError (bad_input) for a tool whose
    parameters it cannot express.
    """
    asked = content_body(request)
    config = asked["generationConfig"]
    if config.pop("responseJsonSchema", None) is not None and request.output_schema is not None:
        schema = older_schema(request.output_schema)
        if schema is not None:
            config["responseSchema"] = schema
        else:
            config.pop("responseMimeType")
            asked["systemInstruction"] = {"parts": [{"text": with_schema(request.system, request.output_schema)}]}
    if request.tools:
        asked["tools"] = [{"functionDeclarations": [_declared(tool) for tool in request.tools]}]
    turns = [{**turn, "parts": [part for part in turn["parts"] if _is_known(part)]} for turn in asked["contents"]]
    return {**asked, "model": model_path(request.model), "contents": [turn for turn in turns if turn["parts"]]}


def older_schema(schema: Json) -> dict[str, Json] | None:
    """Rewrite a JSON Schema: types in capitals, null as `nullable`, words as enum. None where that is not possible."""
    native = native_schema(schema)
    return None if native is None else _older(native)


def _older(schema: Mapping[str, Json]) -> dict[str, Json] | None:
    if "anyOf" in schema:
        return _nullable(schema["anyOf"])
    new = {name: schema[name] for name in schema if name in _KEPT}
    if "enum" in schema:
        words = all(isinstance(word, str) for word in schema["enum"])
        return {**new, "type": "STRING", "format": "enum", "enum": schema["enum"]} if words else None
    inner: dict[str, Json] = {"type": schema["type"].upper()}
    if "properties" in schema:
        inner["properties"] = {name: _older(value) for name, value in schema["properties"].items()}
    if "items" in schema:
        inner["items"] = _older(schema["items"])
    lost = None in inner.get("properties", {}).values() or inner.get("items", {}) is None
    return None if lost or inner["type"] == "NULL" else {**new, **inner}


def _nullable(branches: list[Mapping[str, Json]]) -> dict[str, Json] | None:
    """Rewrite a choice between one schema and null; the older form knows no other choice."""
    others = [branch for branch in branches if branch.get("type") != "null"]
    one = _older(others[0]) if len(others) == 1 else None
    return None if one is None else {**one, "nullable": True}


def _declared(tool: Tool) -> Json:
    declared = {"name": tool.name, "description": tool.description}
    if not tool.input_schema.get("properties"):
        return declared
    parameters = older_schema(tool.input_schema)
    if parameters is None:
        raise ProviderError(
            f"expected parameters of the tool {tool.name} in a form that google-generativeai knows, "
            f"came {tool.input_schema}",
            cause="bad_input",
            mend="Take the same model under gemini/ instead of gemini-legacy/.",
        )
    return {**declared, "parameters": parameters}


def _is_known(part: Mapping[str, Json]) -> bool:
    """Whether the older form has a place for a part; signatures beside text and calls are dropped on the way."""
    known = {"text", "functionCall", "functionResponse"} & part.keys()
    return bool(known) and part.get("thought") is not True and part.get("text") != ""
