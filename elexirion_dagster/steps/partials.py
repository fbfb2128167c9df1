"""The answers of an op's model calls while they come in: told once a second, as far as they may be shown."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

from elexirion_dagster.errors import StorageError
from elexirion_dagster.redact import Redactor

AFTER_S, EVERY_S = 5.0, 1.0
"""A call is told about after so many seconds, and then this often."""

OnText = Callable[[str], None]


@dataclass(slots=True)
class _Partial:
    """One attempt's answer so far; `shown` counts its lines that were shown."""

    path: str
    since: float = field(default_factory=time.monotonic)
    pieces: list[str] = field(default_factory=list)
    chars: int = 0
    shown: int = 0

    def take(self, text: str) -> None:
        """Add what came in."""
        self.pieces.append(text)
        self.chars += len(text)

    def text(self) -> str:
        """All that came in."""
        return "".join(self.pieces)


class Partials:
    """The model calls of one op that are under way; a thread tells of them from the first call to the `with`'s end.

    `tell` gets a line about all calls that take longer than AFTER_S, with the path of the longest. `show`, if given,
    gets a path and whole lines of its answer, redacted; then calls are to be streamed.
    """

    def __init__(
        self,
        redactor: Redactor,
        tell: Callable[[str, str], None],
        show: Callable[[str, str], None] | None,
        *,
        after_s: float = AFTER_S,
        every_s: float = EVERY_S,
    ) -> None:
        self.stream = show is not None
        self._redactor = redactor
        self._tell = tell
        self._show = show
        self._after_s = after_s
        self._every_s = every_s
        self._under_way: dict[int, _Partial] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    @contextmanager
    def hearing(self, path: str) -> Iterator[OnText]:
        """Hear one attempt of the call at this path; it is shown to its end when it ends well."""
        partial = _Partial(path)
        with self._lock:
            self._under_way[id(partial)] = partial
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="elexirion-partials", daemon=True)
                self._thread.start()
        try:
            yield partial.take
            self._show_lines(partial, self._redactor.text(partial.text()).split("\n") if self.stream else [])
        finally:
            with self._lock:
                del self._under_way[id(partial)]

    def _run(self) -> None:
        while not self._over.wait(self._every_s):
            try:
                self._look()
            except StorageError:
                return  # the calls' own journal lines meet the same disk and say so

    def _look(self) -> None:
        with self._lock:
            found = list(self._under_way.values())
        for partial in found if self.stream else ():
            self._show_lines(partial, None)
        long = [partial for partial in found if time.monotonic() - partial.since > self._after_s]
        if long:
            first = min(long, key=lambda partial: partial.since)
            self._tell(first.path, _line(first, long))

    def _show_lines(self, partial: _Partial, lines: list[str] | None) -> None:
        """Show the lines that were not shown yet: all of them at the end, else those that are settled."""
        with self._lock:
            found = self._redactor.settled_lines(partial.text()) if lines is None else lines
            new, partial.shown = found[partial.shown :], max(partial.shown, len(found))
        if new and self._show is not None:
            self._show(partial.path, "\n".join(new))


def _line(first: _Partial, long: list[_Partial]) -> str:
    chars = sum(partial.chars for partial in long)
    came = f"{chars} characters so far" if chars else "no text yet"
    others = f" and {len(long) - 1} more" if len(long) > 1 else ""
    return f"{first.path}{others}: {time.monotonic() - first.since:.0f} s, {came}"
