"""A message's body becomes a Reply, or a ProviderError when it is none."""

from collections.abc import Mapping
from types import MappingProxyType

from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.pricing import cost_usd
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
    {
        "end_turn": "end_turn",
        "max_tokens": "max_tokens",
        "stop_sequence": "stop_sequence",
        "tool_use": "tool_use",
        "pause_turn": "pause_turn",
        "model_context_window_exceeded": "context_exceeded",
    }
)
_CUT = frozenset({"max_tokens", "context_exceeded"})


def read_message(body: Json, request: Request, request_id: str | None, latency_s: float) -> Reply:
    """Read a whole message. Raises ProviderError: refused, malformed_output, or connection when it is no message."""
    match body:
        case {"type": "message", "stop_reason": str(), "content": list()}:
            usage = read_usage(body.get("usage"))
        case _:
            raise no_message(body, request_id)
    stop_reason = _stop_reason(body, usage, request_id)
    return Reply(
        blocks=_blocks(body, stop_reason, usage, request_id),
        stop_reason=stop_reason,
        usage=usage,
        model=str(body.get("model")),
        provider="anthropic",
        latency_s=latency_s,
        request_id=request_id,
        cost_usd=cost_usd("anthropic", request.model, usage),
    )


def read_usage(usage: Json) -> Usage:
    """Read the four buckets; the API's `input_tokens` leaves cached tokens out, as ours does."""
    given = usage if isinstance(usage, dict) else {}
    return Usage(
        input_tokens=_count(given.get("input_tokens")),
        output_tokens=_count(given.get("output_tokens")),
        cache_read_tokens=_count(given.get("cache_read_input_tokens")),
        cache_write_tokens=_count(given.get("cache_creation_input_tokens")),
    )


def _count(value: Json) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def no_message(body: Json, request_id: str | None) -> ProviderError:
    """Word what came in place of a message; a message without an end is billed, a proxy's page is not."""
    begun = isinstance(body, dict) and body.get("type") == "message"
    came = "a message without" if begun else f"{body!r:.100}"
    return ProviderError(
        f"expected a message with content and a stop reason from Anthropic, came {came}",
        cause="connection",
        mend="Something between here and the API answered in its place; check ANTHROPIC_BASE_URL and proxies.",
        billed=begun,
        request_id=request_id,
    )


def _stop_reason(body: Mapping[str, Json], usage: Usage, request_id: str | None) -> StopReason:
    given = body["stop_reason"]
    if given == "refusal":
        details = body.get("stop_details")
        category = details.get("category") if isinstance(details, dict) else None
        raise ProviderError(
            f"the model refused ({category or 'no category given'})",
            cause="refused",
            mend="Reword the request, or name another model in the failover list.",
            usage=usage,
            category=category,
            request_id=request_id,
        )
    if given not in _STOP_REASONS:
        raise _malformed(f"expected a stop reason of {', '.join(_STOP_REASONS)}, came {given!r}", usage, request_id)
    return _STOP_REASONS[given]


def _blocks(
    body: Mapping[str, Json], stop_reason: StopReason, usage: Usage, request_id: str | None
) -> tuple[Block, ...]:
    """Read the content by each block's `type`; what we do not know is kept verbatim, as thinking is."""
    blocks: list[Block] = []
    for raw in body["content"]:
        match raw:
            case {"type": "text", "text": str(text)}:
                blocks += [TextBlock(text)] if text else []
            case {"type": "tool_use", "id": str(use), "name": str(name), "input": dict(given)}:
                blocks.append(ToolUseBlock(use, name, given))
            case {"type": "tool_use"} if stop_reason in _CUT:
                pass  # the call was cut in the middle of its input
            case {"type": "text" | "tool_use"}:
                raise _malformed(f"expected a whole {raw['type']} block, came {raw!r:.200}", usage, request_id)
            case {"type": str()}:
                blocks.append(ThinkingBlock(raw))
            case _:
                raise _malformed(f"expected content blocks with a type, came {raw!r:.200}", usage, request_id)
    if stop_reason == "tool_use" and not any(isinstance(block, ToolUseBlock) for block in blocks):
        raise _malformed("expected a tool call after the stop reason tool_use, came none", usage, request_id)
    return tuple(blocks)


def _malformed(message: str, usage: Usage, request_id: str | None) -> ProviderError:
    return ProviderError(message, cause="malformed_output", usage=usage, billed=True, request_id=request_id)
