"""Shared frozen types that travel between rooms: messages, replies, usage, results, findings."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from elexirion_dagster.errors import Cause

Json = Any
"""A JSON value: None, bool, int, float, str, list or dict with string keys."""


def dollars(usd: float) -> str:
    """An amount for people: two decimals, or as many as a small one needs."""
    return f"${usd:.2f}" if usd >= 0.01 or usd == 0 else f"${usd:.6f}".rstrip("0")  # noqa: PLR2004 - a cent


def counted(count: int, noun: str) -> str:
    """A number of things for people: `1 finding`, `2 findings`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


MARK_DIGITS = 8
_LINE_END = re.compile(r"\r\n|\r|\n")
_MARKED_CHARACTERS = 2000  # as much of a line as a finding's snippet has


def line_marks(text: str) -> str:
    """Eight hexadecimal digits for each line of a text, white space folded: whether a line is there still, not which.

    Give it redacted text, so that nobody can guess a secret from it.
    """
    folded = (" ".join(line[:_MARKED_CHARACTERS].split()) for line in _LINE_END.split(text))
    return "".join(hashlib.sha256(line.encode("utf-8", "replace")).hexdigest()[:MARK_DIGITS] for line in folded)


Status = Literal["succeeded", "degraded", "skipped", "failed"]
StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", "context_exceeded"]
Severity = Literal["critical", "high", "medium", "low", "info"]
Confidence = Literal["high", "medium", "low"]
FindingState = Literal["new", "open", "fixed", "reopened", "suppressed"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one or more calls in the four buckets that are billed apart; `input_tokens` excludes cached ones."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
        )

    def to_json(self) -> dict[str, Json]:
        """The four counts by name; written out because `asdict` is ten times slower and this runs for every call."""
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cache_read_tokens": self.cache_read_tokens,
            "cache_write_tokens": self.cache_write_tokens,
        }

    @property
    def total_tokens(self) -> int:
        """All four buckets added up."""
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens


@dataclass(frozen=True, slots=True)
class TextBlock:
    """Plain text in a message."""

    text: str
    type: Literal["text"] = "text"


@dataclass(frozen=True, slots=True)
class ThinkingBlock:
    """A model's thinking, kept verbatim (`raw` is the provider's own block) because tool loops must echo it."""

    raw: Mapping[str, Json]
    type: Literal["thinking"] = "thinking"


@dataclass(frozen=True, slots=True)
class ToolUseBlock:
    """A model's wish to call a tool."""

    id: str
    name: str
    input: Mapping[str, Json]
    type: Literal["tool_use"] = "tool_use"


@dataclass(frozen=True, slots=True)
class ToolResultBlock:
    """What a tool answered."""

    tool_use_id: str
    text: str
    is_error: bool = False
    type: Literal["tool_result"] = "tool_result"


Block = TextBlock | ThinkingBlock | ToolUseBlock | ToolResultBlock


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["user", "assistant"]
    content: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool a model may call; `input_schema` is a JSON Schema object."""

    name: str
    description: str
    input_schema: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Request:
    """One model call, provider-neutral. `model` is the bare model name, without the provider."""

    model: str
    messages: tuple[Message, ...]
    system: str | None = None
    max_tokens: int = 4096
    temperature: float | None = None
    stop_sequences: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    output_schema: Mapping[str, Json] | None = None
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """A model's whole answer. `cost_usd` is None where the price is not known; `latency_s` is wall time of the call."""

    blocks: tuple[Block, ...]
    stop_reason: StopReason
    usage: Usage
    model: str
    provider: str
    latency_s: float
    request_id: str | None = None
    cost_usd: float | None = None

    @property
    def text(self) -> str:
        """The text blocks joined; thinking and tool calls are not part of it."""
        return "".join(block.text for block in self.blocks if isinstance(block, TextBlock))


@dataclass(frozen=True, slots=True)
class StepError:
    """Why a step failed, in a form that travels as JSON."""

    cause: Cause
    message: str
    mend: str | None = None


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step came to. `cost_usd` and `usage` are None where nothing was measured or the price is unknown.

    `reason` says why a step was skipped or degraded. `results` are a for_each's items in item order.
    `vars` are the variables the step assigned. `metadata` is shown in the Dagster UI and never read by templates.
    """

    status: Status
    data: Json = None
    text: str | None = None
    error: StepError | None = None
    reason: str | None = None
    cost_usd: float | None = None
    usage: Usage | None = None
    duration_s: float | None = None
    results: list[Json] | None = None
    vars: Mapping[str, Json] = field(default_factory=dict)
    metadata: Mapping[str, Json] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        """The result as a JSON object; `from_json` reads it back."""
        return {
            "status": self.status,
            "data": self.data,
            "text": self.text,
            "error": asdict(self.error) if self.error else None,
            "reason": self.reason,
            "cost_usd": self.cost_usd,
            "usage": self.usage.to_json() if self.usage else None,
            "duration_s": self.duration_s,
            "results": self.results,
            "vars": dict(self.vars),
            "metadata": dict(self.metadata),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> "StepResult":
        """The result that `to_json` wrote."""
        error, usage = value["error"], value["usage"]
        return cls(
            **{
                **value,
                "error": StepError(**error) if error else None,
                "usage": Usage(**usage) if usage else None,
            }
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing an analyzer or a reviewer found; lines and columns are 1-based, ends inclusive.

    `snippet` is the source text of the span, redacted; `snippet_hash` is the SHA-256 (first 16 hex digits) of the
    unredacted snippet with white space folded. `path` is relative to the scanned root, with forward slashes. `symbol`
    names the definitions around it ("" outside of all); `fingerprint` stays when lines move and files are renamed.
    `fix` is the tool's own safe change: texts for spans, `{"line", "column", "end_line", "end_column", "text"}`.
    """

    tool: str
    rule: str
    severity: Severity
    confidence: Confidence
    path: str
    line: int
    column: int
    end_line: int
    end_column: int
    message: str
    snippet: str
    snippet_hash: str
    url: str | None = None
    symbol: str | None = None
    fingerprint: str | None = None
    fix: tuple[Mapping[str, Json], ...] | None = None

    def to_json(self) -> dict[str, Json]:
        """The finding as a JSON object."""
        return {**asdict(self), "fix": None if self.fix is None else list(self.fix)}
