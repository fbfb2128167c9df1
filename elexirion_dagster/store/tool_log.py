"""The tools that models used: what each answered, kept so that a resumed run uses none of them twice."""

import threading
from collections import Counter
from collections.abc import Callable

from elexirion_dagster.records import Json, ToolResultBlock, ToolUseBlock
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.store.replay import Replay, ToolKey, tool_digest

_UNKNOWN = (
    "The run was interrupted while this tool was at work, so whether it took effect is not known. Look first, and use "
    "it again only if it did not."
)


class ToolLog:
    """What the tools of one run answered. Thread-safe."""

    def __init__(self, journal: JournalWriter, replay: Replay) -> None:
        self._journal = journal
        self._replay = replay
        self._occurrences: Counter[tuple[str, str, str]] = Counter()
        self._lock = threading.Lock()

    def answer(
        self, path: str, use: ToolUseBlock, act: Callable[[], ToolResultBlock], *, repeatable: bool
    ) -> ToolResultBlock:
        """What the tool answered, out of the journal if it is there; else `act` is called and its answer written.

        One that is not `repeatable` is announced first. If a run died right after that, `act` is not called again: the
        model is told that nobody knows. The uses at one path must come in the same order every time.
        """
        key = self._key(path, use)
        if known := self._replay.tool(key):
            return known
        where: dict[str, Json] = {
            "path": path,
            "tool_use_id": use.id,
            "name": use.name,
            "arguments": dict(use.input),
            "occurrence": key.occurrence,
        }
        if self._replay.tool_begun(key):
            answer = ToolResultBlock(use.id, _UNKNOWN, is_error=True)
        else:
            if not repeatable:
                self._journal.append("tool_intent", durable=True, **where)
            answer = act()
        self._journal.append("tool", durable=True, **where, text=answer.text, is_error=answer.is_error)
        return answer

    def _key(self, path: str, use: ToolUseBlock) -> ToolKey:
        digest = tool_digest(use.name, use.input)
        with self._lock:
            self._occurrences[path, use.id, digest] += 1
            return ToolKey(path, use.id, digest, self._occurrences[path, use.id, digest])
