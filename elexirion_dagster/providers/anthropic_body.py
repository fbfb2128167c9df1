"""A request in the form of the Messages API, its output schema included."""

from anthropic import transform_schema

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


def message_body(request: Request, *, native_schema: bool) -> dict[str, Json]:
    """Build the body of POST /v1/messages, without `stream`.

    An output schema that native structured output cannot express (objects with free keys, references), or that the
    model does not take natively, stands at the end of the system text instead.
    """
    body: dict[str, Json] = {
        "model": request.model,
        "max_tokens": request.max_tokens,
        "messages": [_message(message) for message in request.messages],
    }
    system = request.system or ""
    if request.output_schema is not None:
        if native_schema and is_plain(request.output_schema, null_words=True):
            schema = transform_schema(rewritten(request.output_schema))
            body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        else:
            system = with_schema(system, request.output_schema)
    if system:
        body["system"] = [{"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}]
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.stop_sequences:
        body["stop_sequences"] = list(request.stop_sequences)
    if request.tools:
        body["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": dict(tool.input_schema)}
            for tool in request.tools
        ]
    return body


def _message(message: Message) -> Json:
    """Write a turn; the thinking of another provider's model (its blocks have no type) is left out."""
    own = [block for block in message.content if not isinstance(block, ThinkingBlock) or "type" in block.raw]
    return {"role": message.role, "content": [_block(block) for block in own]}


def _block(block: Block) -> Json:
    match block:
        case TextBlock(text):
            return {"type": "text", "text": text}
        case ThinkingBlock(raw):
            return dict(raw)
        case ToolUseBlock(id=use, name=name, input=given):
            return {"type": "tool_use", "id": use, "name": name, "input": dict(given)}
        case ToolResultBlock(tool_use_id=use, text=text, is_error=is_error):
            return {"type": "tool_result", "tool_use_id": use, "content": text, "is_error": is_error}
