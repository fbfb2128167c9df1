"""Whether a model goes in circles: the same tool with the same arguments and the same result, turn after turn."""

from dataclasses import dataclass, field, replace

from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.records import ToolResultBlock, ToolUseBlock
from elexirion_dagster.store.replay import tool_digest

_MOST = 3
_CHANGING = frozenset({"write", "edit", "command"})
"""Tools after which another one may find something new."""
_NOTE = "[This is the same call with the same result as before. Do something else, or give your answer.]"


@dataclass(slots=True)
class Repeats:
    """What each use came to, and in how many turns; equal uses in one turn were asked for together and count once."""

    path: str
    _seen: dict[str, tuple[str, int]] = field(default_factory=dict)
    _in_turn: set[str] = field(default_factory=set)

    def begin_turn(self) -> None:
        """The model has read what came of the turn before."""
        self._in_turn.clear()

    def told(self, use: ToolUseBlock, result: ToolResultBlock) -> ToolResultBlock:
        """The result as the model gets it: the second time it says that nothing is new.

        Raises ElexirionError (max_turns) the third time. What changes something begins the count anew.
        """
        key = tool_digest(use.name, use.input)
        text, times = self._seen.get(key, ("", 0))
        again = times and text == result.text
        if key not in self._in_turn:
            times = times + 1 if again else 1
        self._in_turn.add(key)
        if times == 1 and use.name in _CHANGING and not result.is_error:
            self._seen.clear()
        self._seen[key] = result.text, times
        if times >= _MOST:
            raise ElexirionError(
                f"{self.path} used {use.name} {times} times with the same arguments and the same result",
                cause="max_turns",
                mend="Ask for less, or say in `system` what the model should do when a tool does not help.",
            )
        return replace(result, text=f"{result.text}\n{_NOTE}") if times > 1 else result
