"""Template text, examples and inputs become one provider-neutral request; the step and the optimizer share this."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from elexirion_dagster.errors import InputError
from elexirion_dagster.records import (
    Block,
    Json,
    Message,
    Request,
    TextBlock,
    ThinkingBlock,
    Tool,
    ToolResultBlock,
    ToolUseBlock,
)

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=dict)
_SCHEMA_SENTENCE = "Answer with exactly one JSON value that fits this JSON Schema, and with nothing else:"


@dataclass(frozen=True, slots=True)
class Example:
    """One worked example: what a user turn said and what the ideal answer was."""

    user: str
    assistant: str


def build_request(
    *,
    model: str,
    user: str | None = None,
    system: str | None = None,
    examples: Sequence[Example] = (),
    history: Sequence[Message] = (),
    output_schema: Mapping[str, Json] | None = None,
    native_schema: bool = True,
    max_tokens: int = 4096,
    temperature: float | None = None,
    stop_sequences: Sequence[str] = (),
    tools: Sequence[Tool] = (),
    stream: bool = False,
) -> Request:
    """Put already rendered text together: examples first, then the conversation so far, then the user's turn (if any).

    With `native_schema` false the schema stands at the end of the system text instead of in `output_schema`.
    """
    shown = [turn for example in examples for turn in _turns(example)]
    request = Request(
        model=model,
        messages=(*shown, *history, *([] if user is None else [Message("user", (TextBlock(user),))])),
        system=system if system and system.strip() else None,
        max_tokens=max_tokens,
        temperature=temperature,
        stop_sequences=tuple(stop_sequences),
        tools=tuple(tools),
        output_schema=output_schema,
        stream=stream,
    )
    return request if native_schema else schema_in_system(request)


def sendable(text: str, of: str) -> str:
    """The prompt `of` something, if it is a text that can be sent. Raises InputError.

    Providers refuse an empty one; what came from bytes that are no text must not look like a provider's fault.
    """
    if not text.strip():
        mend = "Look at what its template refers to; give the step a `when` if there may be nothing to ask."
        raise InputError(f"the prompt of {of} is empty", mend=mend)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        message = f"the prompt of {of} holds {text[error.start]!r} at character {error.start}, which is no text"
        raise InputError(message, mend="Look where that value comes from: it is not UTF-8.") from error
    return text


def schema_in_system(request: Request) -> Request:
    """Move `output_schema` into the system text, word for word the same every time; without one, change nothing."""
    if request.output_schema is None:
        return request
    asked = f"{_SCHEMA_SENTENCE}\n{_canonical(request.output_schema)}"
    return replace(request, system=f"{request.system}\n\n{asked}" if request.system else asked, output_schema=None)


def request_hash(request: Request) -> str:
    """SHA-256 (64 hex digits) over everything that changes the answer; the same in every process.

    `stream` is left out: it changes how the answer travels, not what it is.
    """
    whole = {
        "model": request.model,
        "system": request.system,
        "messages": [[turn.role, [_block(block) for block in turn.content]] for turn in request.messages],
        "max_tokens": request.max_tokens,
        "temperature": None if request.temperature is None else float(request.temperature),
        "stop_sequences": request.stop_sequences,
        "tools": [[tool.name, tool.description, tool.input_schema] for tool in request.tools],
        "output_schema": request.output_schema,
    }
    return hashlib.sha256(_canonical(whole).encode()).hexdigest()


def example_of(prompt: str, answer: Json) -> Example:
    """A slot's example as the two turns it is sent as; an answer that is no text becomes JSON."""
    return Example(prompt, answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False))


def _turns(example: Example) -> tuple[Message, Message]:
    return Message("user", (TextBlock(example.user),)), Message("assistant", (TextBlock(example.assistant),))


def _block(block: Block) -> list[Json]:
    match block:
        case TextBlock(text):
            return ["text", text]
        case ThinkingBlock(raw):
            return ["thinking", raw]
        case ToolUseBlock(id=use, name=name, input=given):
            return ["tool_use", use, name, given]
        case ToolResultBlock(tool_use_id=use, text=text, is_error=is_error):
            return ["tool_result", use, text, is_error]


def _canonical(value: Json) -> str:
    """Sorted keys, no spaces, ASCII only: one text per value, whatever the platform."""
    return _ENCODER.encode(value)
