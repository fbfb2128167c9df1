"""An answer of generateContent becomes a Reply, or a ProviderError when it is none."""

from collections.abc import Mapping
from types import MappingProxyType

from elexirion_dagster.errors import Cause
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.pricing import cost_usd
from elexirion_dagster.providers.status import mend_of
from elexirion_dagster.records import (
    Block,
    Json,
    Reply,
    Request,
    StopReason,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
    Usage,
)

_STOP_REASONS: Mapping[str, StopReason] = MappingProxyType(
    {"STOP": "end_turn", "MAX_TOKENS": "max_tokens", "CONTINUATION": "max_tokens"}
)
_FAILURES: Mapping[str, Cause] = MappingProxyType(
    {
        "SAFETY": "refused",
        "RECITATION": "refused",
        "LANGUAGE": "refused",
        "BLOCKLIST": "refused",
        "PROHIBITED_CONTENT": "refused",
        "SPII": "refused",
        "IMAGE_SAFETY": "refused",
        "IMAGE_PROHIBITED_CONTENT": "refused",
        "IMAGE_RECITATION": "refused",
        "ESCALATION": "refused",
        "MODEL_ARMOR": "refused",
        "PUP_LIMITED_DISABLED": "auth",
        "MISSING_THOUGHT_SIGNATURE": "bad_input",
        "OTHER": "malformed_output",
        "IMAGE_OTHER": "malformed_output",
        "NO_IMAGE": "malformed_output",
        "MALFORMED_FUNCTION_CALL": "malformed_output",
        "MALFORMED_RESPONSE": "malformed_output",
        "UNEXPECTED_TOOL_CALL": "malformed_output",
        "TOO_MANY_TOOL_CALLS": "malformed_output",
        "FINISH_REASON_UNSPECIFIED": "malformed_output",
    }
)
_FINISH_NUMBERS = MappingProxyType(
    {
        1: "STOP",
        2: "MAX_TOKENS",
        3: "SAFETY",
        4: "RECITATION",
        5: "OTHER",
        6: "LANGUAGE",
        7: "BLOCKLIST",
        8: "PROHIBITED_CONTENT",
        9: "SPII",
        10: "MALFORMED_FUNCTION_CALL",
        11: "IMAGE_SAFETY",
    }
)
_BLOCK_NUMBERS = MappingProxyType({1: "SAFETY", 2: "OTHER", 3: "BLOCKLIST", 4: "PROHIBITED_CONTENT", 5: "IMAGE_SAFETY"})
"""Enum values as numbers, which the older SDK asks the API for."""
_REFUSED_MEND = "Reword the request, or name another model in the failover list."


def read_answer(body: Json, request: Request, provider: str, latency_s: float) -> Reply:
    """Read a whole answer. Raises ProviderError: refused, malformed_output, or connection when it is no answer."""
    match body:
        case {"candidates": [{"finishReason": str() | int() as given} as candidate, *_]}:
            finish = _FINISH_NUMBERS.get(given, str(given)) if isinstance(given, int) else given
        case {"promptFeedback": {"blockReason": str() | int() as given}}:
            reason = _BLOCK_NUMBERS.get(given, str(given)) if isinstance(given, int) else given
            raise _failed("refused", f"the prompt was blocked ({reason})", body, category=reason)
        case _:
            raise no_answer(body)
    blocks = _blocks(candidate, body, request)
    return Reply(
        blocks=blocks,
        stop_reason=_stop_reason(finish, candidate, blocks, body),
        usage=(usage := read_usage(body.get("usageMetadata"))),
        model=str(body.get("modelVersion") or request.model),
        provider=provider,
        latency_s=latency_s,
        request_id=_text_or_none(body.get("responseId")),
        cost_usd=cost_usd(provider, request.model, usage),
    )


def read_usage(usage: Json) -> Usage:
    """Read the four buckets; the prompt's count includes cached tokens there, and thinking is billed as output.

    What the total holds beyond its parts counts as output, the dearest bucket: clients that drop the thinking's count
    have sums that do not add up.
    """
    given = usage if isinstance(usage, dict) else {}
    prompt, cached = _count(given, "promptTokenCount"), _count(given, "cachedContentTokenCount")
    results = _count(given, "toolUsePromptTokenCount")
    output = _count(given, "candidatesTokenCount") + _count(given, "thoughtsTokenCount")
    unnamed = _count(given, "totalTokenCount") - prompt - results - output
    return Usage(
        input_tokens=max(0, prompt - cached) + results,
        output_tokens=output + max(0, unnamed),
        cache_read_tokens=min(cached, prompt),
    )


def no_answer(body: Json) -> ProviderError:
    """Word what came in place of an answer; an answer without an end is billed, a proxy's page is not."""
    begun = isinstance(body, dict) and "candidates" in body
    came = "one without" if begun else f"{body!r:.100}"
    return ProviderError(
        f"expected an answer with a finish reason from Gemini, came {came}",
        cause="connection",
        mend="Something between here and the API answered in its place; check ELEXIRION_GEMINI_BASE_URL and proxies.",
        billed=begun,
    )


def _stop_reason(
    finish: str, candidate: Mapping[str, Json], blocks: tuple[Block, ...], body: Mapping[str, Json]
) -> StopReason:
    if finish in _STOP_REASONS:
        calls = any(isinstance(block, ToolUseBlock) for block in blocks)
        return "tool_use" if finish == "STOP" and calls else _STOP_REASONS[finish]
    cause = _FAILURES.get(finish)
    if cause is None:
        known = ", ".join((*_STOP_REASONS, *_FAILURES))
        raise _failed("malformed_output", f"expected a finish reason of {known}, came {finish!r}", body)
    said = candidate.get("finishMessage")
    more = f": {said:.300}" if isinstance(said, str) else ""
    what = "refused" if cause == "refused" else "gave no usable answer"
    raise _failed(cause, f"the model {what} ({finish}){more}", body, category=finish)


def _blocks(candidate: Mapping[str, Json], body: Mapping[str, Json], request: Request) -> tuple[Block, ...]:
    content = candidate.get("content") or {}
    parts = content.get("parts") or [] if isinstance(content, dict) else content
    if not isinstance(parts, list):
        raise _failed("malformed_output", f"expected content with parts, came {content!r:.200}", body)
    blocks: list[Block] = []
    for index, part in enumerate(parts):
        if not isinstance(part, dict):
            raise _failed("malformed_output", f"expected parts of content, came {part!r:.200}", body)
        blocks += _read(part, f"call_{len(request.messages)}_{index}", body)
    return tuple(blocks)


def _read(part: dict[str, Json], unique: str, body: Mapping[str, Json]) -> list[Block]:
    """Read one part; what is neither text nor a call is kept verbatim, as thinking is.

    The signature of a text or a call stands in a block of its own before it, from where it is sent back. Calls of older
    models have no id; `unique` is theirs.
    """
    signed = [ThinkingBlock({"thoughtSignature": part["thoughtSignature"]})] if "thoughtSignature" in part else []
    match part:
        case {"thought": True}:
            return [ThinkingBlock(part)]
        case {"text": str(text)} if text:
            return [*signed, TextBlock(text)]
        case {"text": ""}:
            return [ThinkingBlock(part)] if signed else []
        case {"functionCall": {"name": str(name)} as call}:
            given = call.get("args") or {}
            if isinstance(given, dict):
                return [*signed, ToolUseBlock(str(call.get("id") or unique), name, given)]
        case _ if not part.keys() & {"text", "functionCall"}:
            return [ThinkingBlock(part)]
    raise _failed("malformed_output", f"expected a whole text or function call, came {part!r:.200}", body)


def _failed(cause: Cause, message: str, body: Mapping[str, Json], *, category: str | None = None) -> ProviderError:
    return ProviderError(
        message,
        cause=cause,
        mend=_REFUSED_MEND if cause == "refused" else mend_of(cause),
        usage=read_usage(body.get("usageMetadata")),
        billed=True,
        category=category,
        request_id=_text_or_none(body.get("responseId")),
    )


def _count(usage: Mapping[str, Json], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def _text_or_none(value: Json) -> str | None:
    return value if isinstance(value, str) else None
