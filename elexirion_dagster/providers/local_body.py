"""A request in the form of chat completions, and the body of an answer as a Reply."""

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.schema_text import with_schema
from elexirion_dagster.records import (
    Block,
    Json,
    Message,
    Reply,
    Request,
    StopReason,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    Usage,
)

_STOP_REASONS: Mapping[str, StopReason] = MappingProxyType(
    {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
)


def completion_body(request: Request) -> dict[str, Json]:
    """Build the body of POST /chat/completions, without `stream`; thinking of other models is left out.

    Beside tools an output schema stands at the end of the system text: servers that hold an answer to a schema by a
    grammar let no tool call through, or refuse both together.
    """
    native = request.output_schema is not None and not request.tools
    text = request.system
    if request.output_schema is not None and not native:
        text = with_schema(text, request.output_schema)
    system = [{"role": "system", "content": text}] if text else []
    body: dict[str, Json] = {
        "model": request.model,
        "max_tokens": request.max_tokens,
        "messages": [*system, *(turn for message in request.messages for turn in _turns(message))],
    }
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.stop_sequences:
        body["stop"] = list(request.stop_sequences)
    if request.output_schema is not None and native:
        schema = {"name": "answer", "schema": dict(request.output_schema), "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": dict(tool.input_schema),
                },
            }
            for tool in request.tools
        ]
    return body


def read_completion(body: Json, request: Request, latency_s: float) -> Reply:
    """Read a whole answer. Raises ProviderError: refused, malformed_output, or connection when it is no answer."""
    match body:
        case {"choices": [{"message": dict(message), "finish_reason": str(finish)}, *_]}:
            usage = read_usage(body.get("usage"))
        case _:
            raise no_completion(body)
    if message.get("refusal") or finish == "content_filter":
        raise ProviderError("the model refused", cause="refused", usage=usage)
    blocks = _blocks(message, finish, usage)
    return Reply(
        blocks=blocks,
        stop_reason=_stop_reason(finish, blocks, usage),
        usage=usage,
        model=str(body.get("model") or request.model),
        provider="local",
        latency_s=latency_s,
        request_id=body.get("id"),
        cost_usd=0.0,
    )


def no_completion(came: Json) -> ProviderError:
    """Word what came in place of a completion."""
    return ProviderError(
        f"expected a chat completion with a finish reason, came {came!r:.200}",
        cause="connection",
        mend="Check that ELEXIRION_LOCAL_URL is an OpenAI-compatible base URL; it usually ends in /v1.",
    )


def read_usage(usage: Json) -> Usage:
    """Read what was used; `prompt_tokens` includes cached ones there, our `input_tokens` does not."""
    given = usage if isinstance(usage, dict) else {}
    details = given.get("prompt_tokens_details")
    prompt = _count(given.get("prompt_tokens"))
    cached = min(prompt, _count(details.get("cached_tokens") if isinstance(details, dict) else None))
    return Usage(
        input_tokens=prompt - cached, output_tokens=_count(given.get("completion_tokens")), cache_read_tokens=cached
    )


def _count(value: Json) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _stop_reason(finish: str, blocks: tuple[Block, ...], usage: Usage) -> StopReason:
    """Translate the finish reason; several local servers say `stop` where they made a tool call."""
    calls = any(isinstance(block, ToolUseBlock) for block in blocks)
    if finish == "stop" and calls:
        return "tool_use"
    if finish not in _STOP_REASONS or (finish == "tool_calls" and not calls):
        raise _malformed(f"expected a finish reason of {', '.join(_STOP_REASONS)} that fits, came {finish!r}", usage)
    return _STOP_REASONS[finish]


def _blocks(message: Mapping[str, Json], finish: str, usage: Usage) -> tuple[Block, ...]:
    text = message.get("content")
    blocks: list[Block] = [TextBlock(text)] if isinstance(text, str) and text else []
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise _malformed(f"expected a list of tool calls, came {calls!r:.200}", usage)
    for call in calls:
        match call:
            case {"id": str(use), "function": {"name": str(name), "arguments": arguments}}:
                given = _arguments(arguments)
            case _:
                raise _malformed(f"expected a tool call with id, name and arguments, came {call!r:.200}", usage)
        if isinstance(given, dict):
            blocks.append(ToolUseBlock(use, name, given))
        elif finish != "length":
            raise _malformed(f"expected the arguments of {name} as a JSON object, came {arguments!r:.200}", usage)
    return tuple(blocks)


def _arguments(given: Json) -> Json:
    """Arguments are JSON text; some local servers send the object itself, others nothing for none."""
    if not isinstance(given, str):
        return given
    try:
        return json.loads(given or "{}")
    except ValueError:
        return None


def _malformed(message: str, usage: Usage) -> ProviderError:
    return ProviderError(message, cause="malformed_output", usage=usage)


def _turns(message: Message) -> Iterator[Json]:
    """Tool results are messages of their own there and come before the text of the same turn."""
    for block in message.content:
        if isinstance(block, ToolResultBlock):
            yield {"role": "tool", "tool_call_id": block.tool_use_id, "content": block.text}
    texts = [block.text for block in message.content if isinstance(block, TextBlock)]
    calls = [_call(block) for block in message.content if isinstance(block, ToolUseBlock)]
    if calls:
        yield {"role": message.role, "content": "".join(texts) or None, "tool_calls": calls}
    elif texts:
        yield {"role": message.role, "content": "".join(texts)}


def _call(block: ToolUseBlock) -> Json:
    function = {"name": block.name, "arguments": json.dumps(block.input, default=dict)}
    return {"id": block.id, "type": "function", "function": function}
