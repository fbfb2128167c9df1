"""A request in the form of Gemini's generateContent, its output schema included."""

from collections.abc import Mapping
from types import MappingProxyType

import re2  # type: ignore[import-untyped]

from elexirion_dagster.providers.schema_form import is_plain, rewritten
from elexirion_dagster.providers.schema_text import with_schema
from elexirion_dagster.records import (
    Block,
    Json,
    Message,
    Request,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)

_VERSION = re2.compile(r"^(?:models/)?gemini-(?:(\d+)(?:\.(\d+))?-|[a-z-]+-latest$)")
_LATEST = (99, 0)
_SCHEMA_SINCE = (2, 5)
_SCHEMA_WITH_TOOLS_SINCE = (3, 0)
_ROLES = MappingProxyType({"user": "user", "assistant": "model"})
_KEPT = frozenset({"type", "title", "description", "enum", "format", "required", "minItems", "maxItems"}) | {
    "minimum",
    "maximum",
    "additionalProperties",
}
"""What the API documents for a schema. Other limits (a pattern, a length) are left out; the reply is checked anyway."""


def takes_schema(model: str, *, tools: bool = False) -> bool:
    """Say whether a model takes a JSON Schema natively: since 2.5, and beside tools since 3; unknown names do not."""
    found = _VERSION.search(model)
    if found is None:
        return False
    version = (int(found[1]), int(found[2] or 0)) if found[1] else _LATEST
    return version >= (_SCHEMA_WITH_TOOLS_SINCE if tools else _SCHEMA_SINCE)


def model_path(model: str) -> str:
    """Write a model's name as the API's paths have it."""
    return model if "/" in model else f"models/{model}"


def content_body(request: Request) -> dict[str, Json]:
    """Build the body of POST …:generateContent.

    An output schema that the model does not take natively, or that its form cannot express, stands at the end of the
    system text instead.
    """
    config: dict[str, Json] = {"maxOutputTokens": request.max_tokens}
    system = request.system
    if request.output_schema is not None:
        native = native_schema(request.output_schema)
        if native is not None and takes_schema(request.model, tools=bool(request.tools)):
            config |= {"responseMimeType": "application/json", "responseJsonSchema": native}
        else:
            system = with_schema(system, request.output_schema)
    if request.temperature is not None:
        config["temperature"] = request.temperature
    if request.stop_sequences:
        config["stopSequences"] = list(request.stop_sequences)
    body: dict[str, Json] = {"contents": contents(request.messages), "generationConfig": config}
    if system:
        body["systemInstruction"] = {"parts": [{"text": system}]}
    if request.tools:
        declared = [
            {"name": tool.name, "description": tool.description, "parametersJsonSchema": dict(tool.input_schema)}
            for tool in request.tools
        ]
        body["tools"] = [{"functionDeclarations": declared}]
    return body


def contents(messages: tuple[Message, ...]) -> list[Json]:
    """Write the turns; one that holds nothing but another provider's thinking is left out."""
    names = {block.id: block.name for turn in messages for block in turn.content if isinstance(block, ToolUseBlock)}
    turns = [(_ROLES[turn.role], _parts(turn, names)) for turn in messages]
    return [{"role": role, "parts": parts} for role, parts in turns if parts]


def native_schema(schema: Json) -> dict[str, Json] | None:
    """Reduce a JSON Schema to what the API documents; None where that would mean something else."""
    return rewritten(schema, kept=_KEPT) if is_plain(schema) else None


def _parts(message: Message, names: Mapping[str, str]) -> list[Json]:
    """Write the blocks of a turn; a signature that stands alone belongs to the part after it."""
    parts: list[Json] = []
    signature: Mapping[str, Json] = {}
    for block in message.content:
        if isinstance(block, ThinkingBlock):
            if block.raw.keys() == {"thoughtSignature"}:
                signature = block.raw
            elif "type" not in block.raw:  # else it is a block of another provider
                parts.append(dict(block.raw))
        else:
            parts.append({**_part(block, names), **signature})
            signature = {}
    return parts


def _part(block: Block, names: Mapping[str, str]) -> dict[str, Json]:
    match block:
        case TextBlock(text):
            return {"text": text}
        case ToolUseBlock(id=use, name=name, input=given):
            return {"functionCall": {"id": use, "name": name, "args": dict(given)}}
        case ToolResultBlock(tool_use_id=use, text=text, is_error=is_error):
            response = {"error" if is_error else "output": text}
            return {"functionResponse": {"id": use, "name": names.get(use, use), "response": response}}
        case ThinkingBlock(raw):
            return dict(raw)
