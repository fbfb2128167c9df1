"""A deterministic model inside the process: answers from rules, or invents the smallest answer that fits the schema."""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import re2  # type: ignore[import-untyped]

from elexirion_dagster.errors import Cancelled
from elexirion_dagster.providers.base import Capabilities, Provider, ProviderError
from elexirion_dagster.providers.sample import smallest_instance
from elexirion_dagster.records import (
    Block,
    Json,
    Reply,
    Request,
    StopReason,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    Usage,
)

_CHARS_PER_TOKEN = 4
_ECHO_CHARS = 200
_KEPT_REQUESTS = 1000
_CAPABILITIES = Capabilities(output_schema=True, tools=True, streaming=True)


@dataclass(frozen=True, slots=True)
class Rule:
    """When a request's text holds `match` (a substring) and `pattern` (RE2), answer so; without either, always.

    The answer is `text`, or `data` as JSON, or `tools`, or `error`; with none of them it is what the model would
    have invented. A rule with `times` answers that often and then steps aside.
    """

    match: str | None = None
    pattern: str | None = None
    text: str | None = None
    data: Json = None
    tools: tuple[ToolUseBlock, ...] = ()
    error: ProviderError | None = None
    usage: Usage | None = None
    stop_reason: StopReason | None = None
    delay_s: float = 0.0
    times: int | None = None


class FakeProvider(Provider):
    """The model for tests, rehearsals and dry runs: no network, no cost, the same answer every time.

    `requests` holds the last 1,000 requests in order of arrival.
    """

    name = "fake"

    def __init__(self, script: Sequence[Rule] = ()) -> None:
        self.requests: deque[Request] = deque(maxlen=_KEPT_REQUESTS)
        self._rules = [(rule, re2.compile(rule.pattern) if rule.pattern is not None else None) for rule in script]
        self._left = {index: rule.times for index, rule in enumerate(script) if rule.times is not None}
        self._lock = threading.Lock()

    def send(
        self,
        request: Request,
        *,
        timeout_s: float,
        cancelled: threading.Event | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        """Answer by the first rule that matches; `delay_s` is really waited for, up to `timeout_s`."""
        started = time.perf_counter()
        self.requests.append(request)
        seen = request_text(request)
        rule = self._matching(seen) if self._rules else None
        if rule is not None:
            _wait(rule.delay_s, timeout_s, cancelled)
            if rule.error is not None:
                raise _fresh(rule.error)
        elif cancelled is not None and cancelled.is_set():
            raise Cancelled
        reply = _reply(request, rule, seen, started)
        if on_text is not None and reply.text:
            on_text(reply.text)
        return reply

    def capabilities(self, model: str) -> Capabilities:  # noqa: ARG002  every fake model is the same
        """Say that the fake takes everything natively."""
        return _CAPABILITIES

    def _matching(self, seen: str) -> Rule | None:
        for index, (rule, pattern) in enumerate(self._rules):
            if rule.match is not None and rule.match not in seen:
                continue
            if pattern is not None and pattern.search(seen) is None:
                continue
            if rule.times is None or self._take(index):
                return rule
        return None

    def _take(self, index: int) -> bool:
        with self._lock:
            left = self._left[index] or 0
            self._left[index] = left - 1
            return left > 0


def request_text(request: Request) -> str:
    """Return all text of a request that a rule can match: system, turns and tool results, joined by newlines."""
    parts = [request.system] if request.system is not None else []
    for message in request.messages:
        parts += [block.text for block in message.content if isinstance(block, TextBlock | ToolResultBlock)]
    return "\n".join(parts)


def _reply(request: Request, rule: Rule | None, seen: str, started: float) -> Reply:
    tools = rule.tools if rule is not None else ()
    text = _text(request, rule)
    blocks: tuple[Block, ...] = (TextBlock(text), *tools) if text else tools
    usage = rule.usage if rule is not None else None
    stop_reason = rule.stop_reason if rule is not None else None
    return Reply(
        blocks=blocks,
        stop_reason=stop_reason or ("tool_use" if tools else "end_turn"),
        usage=usage or Usage(input_tokens=_tokens(seen), output_tokens=_tokens(text)),
        model=request.model,
        provider="fake",
        latency_s=time.perf_counter() - started,
        cost_usd=0.0,
    )


def _text(request: Request, rule: Rule | None) -> str:
    if rule is not None:
        if rule.text is not None:
            return rule.text
        if rule.data is not None:
            return json.dumps(rule.data)
        if rule.tools:
            return ""
    if request.output_schema is not None:
        return json.dumps(smallest_instance(request.output_schema))
    return f"[fake model, no real answer] {_last_text(request)[:_ECHO_CHARS]}"


def _last_text(request: Request) -> str:
    blocks = (block for message in reversed(request.messages) for block in reversed(message.content))
    return next((block.text for block in blocks if isinstance(block, TextBlock | ToolResultBlock)), "")


def _tokens(text: str) -> int:
    return max(1, -(-len(text) // _CHARS_PER_TOKEN))


def _wait(delay_s: float, timeout_s: float, cancelled: threading.Event | None) -> None:
    pause = min(delay_s, timeout_s)
    if cancelled is not None:
        if cancelled.wait(pause) if pause else cancelled.is_set():
            raise Cancelled
    elif pause:
        time.sleep(pause)
    if delay_s > timeout_s:
        raise ProviderError(
            f"expected an answer within {timeout_s} s, the fake model takes {delay_s} s",
            cause="timeout",
            mend="Raise timeout_s.",
        )


def _fresh(error: ProviderError) -> ProviderError:
    """Copy the error: one instance raised in many threads would share its traceback."""
    build, arguments = error.__reduce__()
    return build(*arguments)
