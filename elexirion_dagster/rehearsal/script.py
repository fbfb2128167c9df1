"""What a rehearsal plays: answers by match, delays and faults, written as YAML and checked before the server starts."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from elexirion_dagster.errors import PipelineError
from elexirion_dagster.records import Json
from elexirion_dagster.yamlio import Document, load_file


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tokens(_Part):
    """What the reply reports as used, in place of an estimate of four characters to a token."""

    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    cache_read_tokens: int = Field(default=0, ge=0)
    cache_write_tokens: int = Field(default=0, ge=0)


class ToolUse(_Part):
    """A tool call in the reply."""

    name: str
    input: dict[str, Json] = {}


class Answer(_Part):
    """What to answer to requests whose text holds `match`; an answer without `match` takes every request."""

    match: str | None = None
    """A substring of the request's system text, turns or tool results."""
    text: str | None = None
    data: Json = None
    """Sent as JSON text."""
    size_kb: int | None = Field(default=None, ge=1, le=64_000)
    """Repeat the text until it is this large, whatever max_tokens says: a very large reply."""
    tools: tuple[ToolUse, ...] = ()
    blocks: tuple[dict[str, Json], ...] = ()
    """Raw content blocks (Anthropic) or parts (Gemini) that go before the text, thinking for instance."""
    stop_reason: str | None = None
    """In Anthropic's words; default end_turn, or tool_use with tools. Other words go onto the wire as they are."""
    usage: Tokens | None = None
    latency_ms: float | None = Field(default=None, ge=0)
    """Instead of the script's latency."""
    times: int | None = Field(default=None, ge=1)
    """Answer so often, then step aside."""


class _Fault(_Part):
    nth: int | None = Field(default=None, ge=1)
    """The nth model call, counted from 1."""
    every: int | None = Field(default=None, ge=1)
    """Every so many model calls."""
    match: str | None = None
    """A substring of the request's text."""
    times: int | None = Field(default=None, ge=1)
    """Happen so often, then no more."""


class Status(_Fault):
    """An error status with the provider's error body and its hints when to come back."""

    kind: Literal["status"]
    status: int = Field(ge=400, le=599)
    type: str | None = None
    """The error's type in the body; default by status, e.g. overloaded_error for 529."""
    message: str = "scripted by the rehearsal"
    error_code: str | None = None
    retry_after_s: float | None = None
    retry_after_ms: float | None = None


class Cut(_Fault):
    """The answer ends early: after so many events of a stream, in the middle of a plain body."""

    kind: Literal["cut"]
    after_events: int = Field(default=4, ge=0)
    clean: bool = True
    """End the HTTP body properly, as proxies do, so that only the missing last event tells."""


class Stall(_Fault):
    """Silence: before a plain answer, after so many events of a stream."""

    kind: Literal["stall"]
    seconds: float = Field(ge=0)
    after_events: int = Field(default=4, ge=0)
    pings: bool = False
    """Send ping events meanwhile, which defeats timeouts that only bound one read."""


class Malformed(_Fault):
    """Broken JSON: one event of a stream, or the plain body."""

    kind: Literal["malformed"]


class Html(_Fault):
    """A proxy's HTML page with status 200."""

    kind: Literal["html"]


class Refusal(_Fault):
    """The model declines: no content, stop reason refusal."""

    kind: Literal["refusal"]
    category: str | None = "cyber"


class Truncation(_Fault):
    """Half of the text, stop reason max_tokens."""

    kind: Literal["truncation"]


class Reset(_Fault):
    """A TCP reset: at once, or after so many events of a stream."""

    kind: Literal["reset"]
    after_events: int = Field(default=0, ge=0)


class ErrorEvent(_Fault):
    """An error inside a stream that began with status 200; a plain call gets it as a status."""

    kind: Literal["error_event"]
    type: str = "overloaded_error"
    after_events: int = Field(default=4, ge=0)


class WrongContentType(_Fault):
    """The right answer under a content type that does not belong to it."""

    kind: Literal["wrong_content_type"]
    type: str = "text/plain"


class SlowDrip(_Fault):
    """The answer trickles in, a few bytes at a time; each read brings something, so only a whole deadline ends it."""

    kind: Literal["slow_drip"]
    size: int = Field(default=1, ge=1)
    """Bytes at a time."""
    every_ms: float = Field(default=20, ge=0)


Fault = Annotated[
    Status | Cut | Stall | Malformed | Html | Refusal | Truncation | Reset | ErrorEvent | WrongContentType | SlowDrip,
    Field(discriminator="kind"),
]


class Rate(_Part):
    """What the server takes; a call above it gets a 429 that says in milliseconds when there is room again."""

    requests_per_s: float = Field(gt=0)
    burst: int = Field(default=1, ge=1)
    """So many at once after a pause."""


class Script(_Part):
    """The whole rehearsal. Requests that no answer matches get an invented one that fits the schema they ask for."""

    model: str = "rehearsal-script"
    """The model that replies name; the header x-elexirion-rehearsal says that it is a script in any case."""
    models: tuple[str, ...] = ("rehearsal-script",)
    """What GET /models lists."""
    latency_ms: float = Field(default=0, ge=0)
    """Before the first byte of an answer."""
    pace_ms: float = Field(default=0, ge=0)
    """Between the events of a stream."""
    rate: Rate | None = None
    """Before answers and faults are chosen; what is refused counts as a model call."""
    answers: tuple[Answer, ...] = ()
    faults: tuple[Fault, ...] = ()


def load_script(path: Path) -> Script:
    """Read a script. Raises PipelineError with the position of everything that is wrong."""
    document = load_file(path)
    try:
        return Script.model_validate(document.data)
    except ValidationError as error:
        raise PipelineError([_problem(document, fault) for fault in error.errors()]) from error


def _problem(document: Document, fault: Json) -> Json:
    place = tuple(part for part in fault["loc"] if not isinstance(part, str) or part not in _KINDS)
    named = ".".join(map(str, place)) or "the script"
    return document.problem(f"{named}: {fault['msg']}", place, mend="rehearsal/script.py describes every key.")


_KINDS = frozenset(
    {
        "status",
        "cut",
        "stall",
        "malformed",
        "html",
        "refusal",
        "truncation",
        "reset",
        "error_event",
        "wrong_content_type",
        "slow_drip",
    }
)
