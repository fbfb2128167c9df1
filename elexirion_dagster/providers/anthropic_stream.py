"""The events of a streamed message put together into the same body that a plain answer has."""

import json
from collections.abc import Mapping
from types import MappingProxyType

from elexirion_dagster.records import Json

_FIELDS = MappingProxyType({"text_delta": "text", "input_json_delta": "partial_json", "thinking_delta": "thinking"})


class Assembly:
    """One streamed message under way; `begun` once message_start came, `done` once message_stop did."""

    def __init__(self) -> None:
        self.begun = False
        self.done = False
        self._message: dict[str, Json] = {}
        self._blocks: dict[int, dict[str, Json]] = {}
        self._pieces: dict[int, list[str]] = {}

    def final_usage(self) -> Json:
        """Return the usage once the event that completes it has come, and None before."""
        return self._message.get("usage") if self._message.get("stop_reason") else None

    def take(self, event: Mapping[str, Json]) -> str:
        """Add one event and return the text it brings; unknown kinds are passed over, as the API asks of clients."""
        match event["type"]:
            case "message_start":
                self._message = dict(event["message"])
                self.begun = True
            case "content_block_start":
                self._blocks[event["index"]] = dict(event["content_block"])
                self._pieces[event["index"]] = []
            case "content_block_delta":
                return self._add(event["index"], event["delta"])
            case "message_delta":
                self._message |= event["delta"]
                new = {name: value for name, value in event["usage"].items() if value is not None}
                self._message["usage"] = {**self._message["usage"], **new}
            case "message_stop":
                self.done = True
            case _:
                pass
        return ""

    def body(self) -> dict[str, Json]:
        """Return the message as a plain answer carries it; the input of a tool call that was cut is None."""
        return {**self._message, "content": [self._whole(index) for index in sorted(self._blocks)]}

    def _add(self, index: int, delta: Mapping[str, Json]) -> str:
        kind = delta["type"]
        if kind == "signature_delta":
            self._blocks[index]["signature"] = delta["signature"]
        elif kind in _FIELDS:
            piece: str = delta[_FIELDS[kind]]
            self._pieces[index].append(piece)
            return piece if kind == "text_delta" else ""
        return ""

    def _whole(self, index: int) -> dict[str, Json]:
        block, text = self._blocks[index], "".join(self._pieces[index])
        match block["type"]:
            case "text":
                return {**block, "text": block["text"] + text}
            case "thinking":
                return {**block, "thinking": block["thinking"] + text}
            case "tool_use":
                return {**block, "input": _tool_input(text) if text else block["input"]}
            case _:
                return block


def _tool_input(text: str) -> Json:
    try:
        return json.loads(text)
    except ValueError:
        return None
