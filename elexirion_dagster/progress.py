"""How far a run is, at most once a second, into the journal and to whoever listens."""

import threading
import time
from collections.abc import Callable

from elexirion_dagster.store.journal import JournalWriter

EVERY_S = 1.0


class Progress:
    """Thins progress to one line a second, into the journal and to whoever listens; the step's own goes first."""

    def __init__(self, journal: JournalWriter, listen: Callable[[str], None] | None, *, streams: bool) -> None:
        self._journal = journal
        self._listen = listen
        self._streams = streams
        self._told = 0.0
        self._last: dict[str, float] = {}
        self._said: dict[str, tuple[int, int, int, str | None]] = {}
        self._lock = threading.Lock()

    def __call__(self, path: str, done: int, failed: int, total: int, note: str | None) -> None:
        """Say how many of the parts at a path are done and failed, nothing twice; the step's own last one always."""
        with self._lock:
            now, said = time.monotonic(), (done, failed, total, note)
            if self._said.get(path) == said:
                return
            inner = "." in path
            before = self._told if inner else self._last.get(path, 0.0)
            if (inner or done < total) and now - before < EVERY_S:
                return
            self._last[path] = self._told = now
            self._said[path] = said
        self._journal.append("progress", path=path, done=done, failed=failed, total=total, note=note)
        if self._listen is not None:
            tail = f", {failed} failed" if failed else ""
            self._listen(f"{path}: {done} of {total}{tail}{f', {note}' if note else ''}")

    def tell(self, path: str, note: str) -> None:
        """Say how far the calls are that take long, unless something else was said a moment ago."""
        if self._streams:
            self._journal.append("partial", path=path, text=None, note=note)
        if self._listen is not None and time.monotonic() - self._told >= EVERY_S / 2:
            self._listen(note)

    def show(self, path: str, text: str) -> None:
        """Keep lines of an answer for whoever follows the journal."""
        self._journal.append("partial", path=path, text=text, note=None)
