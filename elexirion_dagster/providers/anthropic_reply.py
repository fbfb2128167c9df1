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
    if not isinstance(body, dict) or body.get("type") != "message" or not body.get("stop_reason"):
        raise ProviderError(
            f"expected a message with a stop reason from Anthropic, came {_named(body)}",
            cause="connection",
            mend="Something between here and the API answered in its place; check ANTHROPIC_BASE_URL and proxies.",
            billed=isinstance(body, dict) and body.get("type") == "message",
            request_id=request_id,
        )
    usage = read_usage(body.get("usage") or {})
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


def read_usage(usage: Mapping[str, Json]) -> Usage:
    """Read the four buckets; the API's `input_tokens` leaves cached tokens out, as ours does."""
    return Usage(
        input_tokens=usage.get("input_tokens") or 0,
        output_tokens=usage.get("output_tokens") or 0,
        cache_read_tokens=usage.get("cache_read_input_tokens") or 0,
        cache_write_tokens=usage.get("cache_creation_input_tokens") or 0,
    )


def _stop_reason(body: Mapping[str, Json], usage: Usage, request_id: str | None) -> StopReason:
    given = body["stop_reason"]
    if given == "refusal":
        category = (body.get("stop_details") or {}).get("category")
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
    for raw in body.get("content") or ():
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


def _named(body: Json) -> str:
    return "one without" if isinstance(body, dict) and body.get("type") == "message" else f"{body!r:.100}"
