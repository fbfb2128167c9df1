"""Requests and replies without key-shaped strings, and as people read them."""

from dataclasses import replace

from elexirion_dagster.records import (
    Block,
    Message,
    Reply,
    Request,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from elexirion_dagster.redact import Redactor

SHOWN_CHARS = 4_000
"""How much of a prompt or reply is kept for people to look at; the reply itself is kept whole."""

_NOTE_CHARS = 40


def redacted_request(request: Request, redactor: Redactor) -> Request:
    """The request with key-shaped strings taken out of everything that will be sent."""
    return replace(
        request,
        system=None if request.system is None else redactor.text(request.system),
        messages=tuple(
            Message(message.role, tuple(_redacted(block, redactor) for block in message.content))
            for message in request.messages
        ),
    )


def redacted_reply(reply: Reply, cost: float | None, redactor: Redactor) -> Reply:
    """The reply with its cost and without key-shaped strings, before its first use: a replay is then identical."""
    return replace(reply, cost_usd=cost, blocks=tuple(_redacted(block, redactor) for block in reply.blocks))


def _redacted(block: Block, redactor: Redactor) -> Block:
    match block:
        case TextBlock(text=text):
            return TextBlock(redactor.text(text))
        case ToolUseBlock(id=id_, name=name, input=arguments):
            return ToolUseBlock(id_, name, redactor.tree(dict(arguments)))
        case ToolResultBlock(tool_use_id=id_, text=text, is_error=is_error):
            return ToolResultBlock(id_, redactor.text(text), is_error)
        case ThinkingBlock():
            return block


def shown_prompt(request: Request) -> str:
    """System text and messages as a person would read them, cut at SHOWN_CHARS."""
    parts = [f"[system]\n{request.system}"] if request.system else []
    for message in request.messages:
        text = "".join(block.text for block in message.content if isinstance(block, TextBlock | ToolResultBlock))
        parts.append(f"[{message.role}]\n{text}")
    return cut("\n\n".join(parts))


def cut(text: str) -> str:
    """The first SHOWN_CHARS characters, with a note of how many are left out; a text that was cut stays as it is."""
    if len(text) <= SHOWN_CHARS + _NOTE_CHARS:
        return text
    return f"{text[:SHOWN_CHARS]}\n… {len(text) - SHOWN_CHARS} more characters"
