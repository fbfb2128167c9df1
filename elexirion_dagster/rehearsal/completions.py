"""OpenAI's chat completions on the wire: plain bodies, stream chunks, errors."""

import json
from collections.abc import Mapping
from types import MappingProxyType

from elexirion_dagster.records import Json
from elexirion_dagster.rehearsal.play import Asked, Failure, Line, pieces, strings

_FINISH = MappingProxyType(
    {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "max_tokens": "length",
        "tool_use": "tool_calls",
        "refusal": "content_filter",
    }
)
PING = b": ping\n\n"
STREAM_TYPE = "text/event-stream"
OVERLOADED = 529
HINTS_AS_HEADERS = True
_DONE = b"data: [DONE]\n\n"


def refusal(body: Mapping[str, Json]) -> str | None:
    """Why the API answers 400: no messages, or a turn without content; empty content it takes."""
    if not body["messages"]:
        return (
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead."
        )
    if any(turn.get("content") is None and not turn.get("tool_calls") for turn in body["messages"]):
        return "Invalid value for 'content': expected a string, got null."
    return None


def asked(body: Mapping[str, Json]) -> Asked:
    """Read what a request asks for."""
    form = (body.get("response_format") or {}).get("json_schema") or {}
    return Asked(
        stream=bool(body.get("stream")),
        schema=form.get("schema"),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        texts=tuple(strings(body["messages"])),
    )


def whole(line: Line) -> Json:
    """Build the body of a plain answer."""
    message: dict[str, Json] = {"role": "assistant", "content": line.text or None, "refusal": line.category}
    if line.tools:
        message["tool_calls"] = _tool_calls(line)
    choice = {"index": 0, "message": message, "finish_reason": _finish(line), "logprobs": None}
    return {**_head(line, "chat.completion"), "choices": [choice], "usage": _usage(line)}


def events(line: Line) -> list[bytes]:
    """Build the chunks of a streamed answer, in order, usage and [DONE] included."""
    deltas: list[Json] = [{"role": "assistant", "content": ""}, *({"content": piece} for piece in pieces(line.text))]
    for index, call in enumerate(_tool_calls(line)):
        arguments = call["function"]["arguments"]
        half = len(arguments) // 2
        function = {"name": call["function"]["name"], "arguments": arguments[:half]}
        deltas.append({"tool_calls": [{**call, "index": index, "function": function}]})
        deltas.append({"tool_calls": [{"index": index, "function": {"arguments": arguments[half:]}}]})
    chunks = [_chunk(line, delta, None) for delta in deltas]
    chunks.append(_chunk(line, {}, _finish(line)))
    usage = {**_head(line, "chat.completion.chunk"), "choices": [], "usage": _usage(line)}
    return [*chunks, _data(usage), _DONE]


def error_body(failure: Failure) -> Json:
    """Build the body of an error."""
    kind = failure.kind or ("server_error" if failure.status >= 500 else "invalid_request_error")  # noqa: PLR2004  HTTP
    return {"error": {"message": failure.message, "type": kind, "param": None, "code": failure.code}}


def error_event(failure: Failure) -> bytes:
    """Build an error inside a stream."""
    return _data(error_body(failure))


def malformed_event() -> bytes:
    """Build a chunk whose JSON is broken."""
    return b'data: {"choices": [{"delta": {"con\n\n'


def _tool_calls(line: Line) -> list[Json]:
    return [
        {
            "id": f"call_{line.number}_{index}",
            "type": "function",
            "function": {"name": tool.name, "arguments": json.dumps(tool.input)},
        }
        for index, tool in enumerate(line.tools)
    ]


def _finish(line: Line) -> str:
    return _FINISH.get(line.stop_reason, line.stop_reason)


def _usage(line: Line) -> Json:
    prompt = line.usage.input_tokens + line.usage.cache_read_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": line.usage.output_tokens,
        "total_tokens": prompt + line.usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": line.usage.cache_read_tokens},
    }


def _head(line: Line, kind: str) -> dict[str, Json]:
    return {"id": f"chatcmpl-rehearsal-{line.number}", "object": kind, "created": 0, "model": line.model}


def _chunk(line: Line, delta: Json, finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return _data({**_head(line, "chat.completion.chunk"), "choices": [choice]})


def _data(value: Json) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()
