"""Anthropic's Messages API on the wire: plain bodies, stream events, errors."""

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from elexirion_dagster.records import Json
from elexirion_dagster.rehearsal.play import Asked, Failure, Line, pieces, strings

_TYPES = MappingProxyType(
    {
        400: "invalid_request_error",
        401: "authentication_error",
        402: "billing_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        504: "timeout_error",
        529: "overloaded_error",
    }
)
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
STREAM_TYPE = "text/event-stream"
OVERLOADED = 529
HINTS_AS_HEADERS = True


def refusal(body: Mapping[str, Json]) -> str | None:
    """Why the API answers 400: no messages, nothing in one, empty text, white space after a prefill."""
    turns = body["messages"]
    if not turns:
        return "messages: at least one message is required"
    for index, turn in enumerate(turns):
        prefill = index == len(turns) - 1 and turn.get("role") == "assistant"
        if not turn.get("content") and not prefill:
            rule = "all messages must have non-empty content except for the optional final assistant message"
            return f"messages.{index}: {rule}"
    said = [("messages", text) for turn in turns for text in _texts(turn.get("content"))]
    for place, text in [*said, *(("system", text) for text in _texts(body.get("system")))]:
        if not text.strip():
            return f"{place}: text content blocks must {'contain non-whitespace text' if text else 'be non-empty'}"
    last = _texts(turns[-1].get("content"))
    if turns[-1].get("role") == "assistant" and last and last[-1] != last[-1].rstrip():
        return "messages: final assistant content cannot end with trailing whitespace"
    return None


def _texts(content: Json) -> list[str]:
    """The texts of a turn: those of its text blocks, or all of it."""
    if isinstance(content, str):
        return [content] if content else []
    blocks = content if isinstance(content, list) else []
    return [str(one.get("text", "")) for one in blocks if isinstance(one, dict) and one.get("type") == "text"]


def asked(body: Mapping[str, Json]) -> Asked:
    """Read what a request asks for."""
    form = (body.get("output_config") or {}).get("format") or {}
    return Asked(
        stream=bool(body.get("stream")),
        schema=form.get("schema"),
        max_tokens=body.get("max_tokens"),
        texts=tuple(strings([body.get("system"), body["messages"]])),
    )


def whole(line: Line) -> Json:
    """Build the body of a plain answer."""
    details = {"type": "refusal", "category": line.category, "explanation": None}
    return {
        "id": f"msg_rehearsal_{line.number}",
        "type": "message",
        "role": "assistant",
        "model": line.model,
        "content": _content(line),
        "stop_reason": line.stop_reason,
        "stop_sequence": None,
        "stop_details": details if line.stop_reason == "refusal" else None,
        "usage": _usage(line),
    }


def events(line: Line) -> list[bytes]:
    """Build the events of a streamed answer, in order."""
    body = whole(line)
    usage = {**body["usage"], "output_tokens": 1}
    first = {**body, "content": [], "stop_reason": None, "stop_details": None, "usage": usage}
    last = {name: body[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
    found = [_event("message_start", message=first)]
    for index, block in enumerate(body["content"]):
        found += _block_events(index, block)
    found.append(_event("message_delta", delta=last, usage={"output_tokens": body["usage"]["output_tokens"]}))
    found.append(_event("message_stop"))
    return found


def error_body(failure: Failure) -> Json:
    """Build the body of an error."""
    kind = failure.kind or _TYPES.get(failure.status, "api_error")
    error: dict[str, Json] = {"type": kind, "message": failure.message}
    if failure.code is not None:
        error["details"] = {"error_code": failure.code}
    return {"type": "error", "error": error, "request_id": "req_rehearsal"}


def error_event(failure: Failure) -> bytes:
    """Build an error inside a stream."""
    return f"event: error\ndata: {json.dumps(error_body(failure))}\n\n".encode()


def malformed_event() -> bytes:
    """Build an event whose JSON is broken."""
    return b'event: content_block_delta\ndata: {"type": "content_block_delta", "index": 0, "del\n\n'


def _content(line: Line) -> list[Json]:
    content: list[Json] = [*line.blocks]
    if line.text:
        content.append({"type": "text", "text": line.text})
    content += [
        {"type": "tool_use", "id": f"toolu_{line.number}_{index}", "name": tool.name, "input": tool.input}
        for index, tool in enumerate(line.tools)
    ]
    return content


def _usage(line: Line) -> dict[str, Json]:
    return {
        "input_tokens": line.usage.input_tokens,
        "output_tokens": line.usage.output_tokens,
        "cache_read_input_tokens": line.usage.cache_read_tokens,
        "cache_creation_input_tokens": line.usage.cache_write_tokens,
        "service_tier": "standard",
    }


def _block_events(index: int, block: Mapping[str, Json]) -> Iterator[bytes]:
    match block["type"]:
        case "text":
            start, deltas = {**block, "text": ""}, [("text_delta", "text", piece) for piece in pieces(block["text"])]
        case "tool_use":
            given = pieces(json.dumps(block["input"]))
            start, deltas = {**block, "input": {}}, [("input_json_delta", "partial_json", piece) for piece in given]
        case "thinking":
            start = {**block, "thinking": "", "signature": ""}
            deltas = [("thinking_delta", "thinking", piece) for piece in pieces(block["thinking"])]
            deltas.append(("signature_delta", "signature", block["signature"]))
        case _:
            start, deltas = dict(block), []
    yield _event("content_block_start", index=index, content_block=start)
    for kind, field, piece in deltas:
        yield _event("content_block_delta", index=index, delta={"type": kind, field: piece})
    yield _event("content_block_stop", index=index)


def _event(kind: str, **fields: Json) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()
