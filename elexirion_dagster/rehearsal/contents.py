"""Gemini's generateContent on the wire: plain bodies, streams as events or as one JSON array, errors."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Self
from urllib.parse import parse_qs

import re2  # type: ignore[import-untyped]

from elexirion_dagster.records import Json
from elexirion_dagster.rehearsal.play import Asked, Failure, Line, pieces, strings

_PATH = re2.compile(r"^/v1(?:beta|alpha)?/[\w./-]+:(generateContent|streamGenerateContent|countTokens)$")
_FINISH = MappingProxyType(
    {"end_turn": "STOP", "stop_sequence": "STOP", "max_tokens": "MAX_TOKENS", "refusal": "SAFETY"}
)
_NUMBERS = MappingProxyType({"STOP": 1, "MAX_TOKENS": 2, "SAFETY": 3, "MALFORMED_FUNCTION_CALL": 10})
_STATUSES = MappingProxyType(
    {
        400: "INVALID_ARGUMENT",
        401: "UNAUTHENTICATED",
        403: "PERMISSION_DENIED",
        404: "NOT_FOUND",
        409: "ABORTED",
        429: "RESOURCE_EXHAUSTED",
        500: "INTERNAL",
        503: "UNAVAILABLE",
        504: "DEADLINE_EXCEEDED",
        529: "UNAVAILABLE",
    }
)
_KINDS = MappingProxyType({"overloaded_error": 503, "rate_limit_error": 429, "api_error": 500})
_MARKS = frozenset({"thought", "thoughtSignature", "thought_signature"})
"""Keys of a part that are not what it holds."""
_RPC = "type.googleapis.com/google.rpc."
_TYPES = ("", "string", "number", "integer", "boolean", "array", "object", "null")


def method_of(path: str) -> str | None:
    """Name the method that a path of this API calls."""
    found = _PATH.match(path)
    return found[1] if found else None


class Contents:
    """One form of the answer: plain, a stream of events (`alt=sse`), or a stream that is one JSON array.

    `numbers` says that enum values travel as numbers, which the older SDK asks for.
    """

    PING = b"\r\n"
    OVERLOADED = 503
    HINTS_AS_HEADERS = False

    def __init__(self, *, stream: bool = False, sse: bool = False, numbers: bool = False) -> None:
        self.STREAM_TYPE = "text/event-stream" if sse else "application/json; charset=UTF-8"
        self._stream = stream
        self._sse = sse
        self._numbers = numbers

    @classmethod
    def of(cls, stream: bool, query: str) -> Self:  # noqa: FBT001  what the path says
        """Choose the form that a query asks for."""
        given = parse_qs(query)
        numbers = any("enum-encoding=int" in value for value in given.get("$alt", ()))
        return cls(stream=stream, sse=given.get("alt") == ["sse"], numbers=numbers)

    def refusal(self, body: Mapping[str, Json]) -> str | None:
        """Why the API answers 400: no contents, one without parts, a part with nothing in it."""
        request = "* GenerateContentRequest.contents"
        if not body["contents"]:
            return f"{request}: contents is not specified"
        for index, turn in enumerate(body["contents"]):
            if not turn.get("parts"):
                return f"{request}[{index}].parts: contents.parts must not be empty."
            for number, part in enumerate(turn["parts"]):
                if part.keys() <= _MARKS or part.get("text") == "":
                    place = f"{request}[{index}].parts[{number}].data"
                    return f"{place}: required oneof field 'data' must have one initialized field"
        return None

    def asked(self, body: Mapping[str, Json]) -> Asked:
        """Read what a request asks for."""
        config = body.get("generationConfig") or {}
        schema = config.get("responseJsonSchema") or json_schema(config.get("responseSchema"))
        return Asked(
            stream=self._stream,
            schema=schema,
            max_tokens=config.get("maxOutputTokens"),
            texts=tuple(strings([body.get("systemInstruction"), body["contents"]])),
        )

    def whole(self, line: Line) -> Json:
        """Build the body of a plain answer."""
        text = [{"text": line.text}] if line.text else []
        return self._body(line, [*line.blocks, *text, *_calls(line)], finished=True)

    def events(self, line: Line) -> list[bytes]:
        """Build the chunks of a streamed answer, in order; the last one carries the finish reason."""
        texts = [{"text": piece} for piece in pieces(line.text)]
        parts = [*line.blocks, *texts, *_calls(line)]
        bodies = [self._body(line, [part] if part else [], finished=False) for part in ({}, *parts)]
        return self._framed([*bodies, self._body(line, [], finished=True)])

    def error_body(self, failure: Failure) -> Json:
        """Build the body of an error; a kind of Anthropic's is put into this API's words."""
        code = _KINDS.get(failure.kind or "", failure.status)
        status = failure.kind if failure.kind and failure.kind not in _KINDS else _STATUSES.get(code, "UNKNOWN")
        details: list[Json] = []
        if failure.retry_s is not None:
            details.append({"@type": f"{_RPC}RetryInfo", "retryDelay": f"{failure.retry_s:g}s"})
        if failure.code is not None:
            details.append({"@type": f"{_RPC}ErrorInfo", "reason": failure.code, "domain": "googleapis.com"})
        return {"error": {"code": code, "message": failure.message, "status": status, "details": details}}

    def error_event(self, failure: Failure) -> bytes:
        """Build an error inside a stream."""
        data = json.dumps(self.error_body(failure)).encode()
        return b"data: %s\r\n\r\n" % data if self._sse else b",\r\n%s]" % data

    def malformed_event(self) -> bytes:
        """Build a chunk whose JSON is broken."""
        broken = b'{"candidates": [{"content": {"par'
        return b"data: %s\r\n\r\n" % broken if self._sse else b",\r\n" + broken

    def _framed(self, bodies: list[Json]) -> list[bytes]:
        found = [json.dumps(body).encode() for body in bodies]
        if self._sse:
            return [b"data: %s\r\n\r\n" % data for data in found]
        return [b"[" + found[0], *(b",\r\n" + data for data in found[1:-1]), b",\r\n%s]" % found[-1]]

    def _body(self, line: Line, parts: list[Json], *, finished: bool) -> dict[str, Json]:
        content = {"parts": parts, "role": "model"} if parts else {"role": "model"}
        candidate: dict[str, Json] = {"content": content, "index": 0}
        if finished:
            candidate["finishReason"] = self._finish(line)
        if finished and line.category is not None:
            rating = {"category": line.category, "probability": "HIGH", "blocked": True}
            candidate["safetyRatings"] = [rating]
        return {
            "candidates": [candidate],
            "usageMetadata": _usage(line, output=line.usage.output_tokens if finished else 0),
            "modelVersion": line.model,
            "responseId": f"rehearsal-{line.number}",
        }

    def _finish(self, line: Line) -> Json:
        """Name the finish reason; a wish for a tool without a call is what this API calls a malformed one."""
        if line.stop_reason == "tool_use":
            name = "STOP" if line.tools else "MALFORMED_FUNCTION_CALL"
        else:
            name = _FINISH.get(line.stop_reason, line.stop_reason)
        return _NUMBERS.get(name, name) if self._numbers else name


def json_schema(schema: Json) -> Json:
    """Turn this API's older schema form (types in capitals or as numbers, `nullable`) into JSON Schema."""
    if isinstance(schema, list):
        return [json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    new = {name: value for name, value in schema.items() if name not in ("nullable", "propertyOrdering")}
    for name in ("items", "anyOf"):
        if name in new:
            new[name] = json_schema(new[name])
    if "properties" in new:
        new["properties"] = {name: json_schema(value) for name, value in new["properties"].items()}
    if "type" in new:
        kind = new["type"]
        new["type"] = _TYPES[kind] if isinstance(kind, int) else kind.lower()
        if schema.get("nullable"):
            new["type"] = [new["type"], "null"]
    return new


def _calls(line: Line) -> list[Json]:
    return [{"functionCall": {"name": tool.name, "args": tool.input}} for tool in line.tools]


def _usage(line: Line, *, output: int) -> Json:
    prompt = line.usage.input_tokens + line.usage.cache_read_tokens + line.usage.cache_write_tokens
    usage = {"promptTokenCount": prompt, "totalTokenCount": prompt + output}
    if line.usage.cache_read_tokens:
        usage["cachedContentTokenCount"] = line.usage.cache_read_tokens
    return {**usage, "candidatesTokenCount": output} if output else usage
