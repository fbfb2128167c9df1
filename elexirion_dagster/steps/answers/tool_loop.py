"""The tools of one answer: what the model asked for is done, and what came of it is its next turn."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from elexirion_dagster.records import Json, Message, Tool, ToolResultBlock, ToolUseBlock
from elexirion_dagster.sandbox.policy import Sandbox
from elexirion_dagster.steps.answers.repeats import Repeats
from elexirion_dagster.steps.context import StepContext
from elexirion_dagster.steps.tools import catalog

_SHOWN_USES, _SHOWN_CHARS = 100, 200
_ONCE = frozenset({"edit", "command"})
"""Tools that do something else, or again, when they are used a second time; the others may be repeated."""


@dataclass
class ToolUses:
    """The tools that one path may use, and what it used. The journal has each outcome before the model hears it."""

    ctx: StepContext
    path: str
    tools: Sequence[Tool]
    programs: tuple[str, ...]
    sandbox: Sandbox
    shown: list[dict[str, Json]] = field(default_factory=list)
    count: int = 0
    repeats: Repeats = field(init=False)

    def __post_init__(self) -> None:
        self.repeats = Repeats(self.path)

    def answer(self, uses: Sequence[ToolUseBlock]) -> Message:
        """One turn that answers every use, in order.

        Raises Cancelled, StorageError, timeouts, and max_turns where the model goes in circles.
        """
        self.repeats.begin_turn()
        return Message("user", tuple(self._answer(use) for use in uses))

    def _answer(self, use: ToolUseBlock) -> ToolResultBlock:
        self.ctx.go_on()
        repeatable = use.name not in _ONCE
        result = self.ctx.shared.tool_log.answer(self.path, use, lambda: self._use(use), repeatable=repeatable)
        self.count += 1
        if len(self.shown) < _SHOWN_USES:
            given = json.dumps(dict(use.input), ensure_ascii=False)
            said = {"is_error": result.is_error, "characters": len(result.text)}
            self.shown.append({"tool": use.name, "arguments": given[:_SHOWN_CHARS], **said})
        return self.repeats.told(use, result)

    def _use(self, use: ToolUseBlock) -> ToolResultBlock:
        """Use the tool; a model may ask for one that it was not offered."""
        names = [tool.name for tool in self.tools]
        if use.name not in names:
            text = f"there is no tool {use.name!r} here. Tools: {', '.join(names)}."
            return ToolResultBlock(use.id, self.ctx.shared.redactor.text(text), is_error=True)
        place = catalog.ToolPlace(
            workspace=self.ctx.shared.workspace,
            readable=self.ctx.readable,
            programs=self.programs,
            time_left_s=self.ctx.time_left_s,
            cancelled=self.ctx.shared.cancelled,
            sandbox=self.sandbox,
            granted=self.ctx.shared.granted,
        )
        outcome = catalog.use(use.name, use.input, place)
        return ToolResultBlock(use.id, self.ctx.shared.redactor.text(outcome.text), outcome.is_error)
