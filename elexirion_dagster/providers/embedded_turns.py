"""One call at a time, in the order in which they came, each with its own deadline and cancellation."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from elexirion_dagster.errors import Cancelled
from elexirion_dagster.providers.base import ProviderError

_SLICE_S = 0.1
"""How long a waiting call sleeps before its cancellation is looked at again."""


class Limit:
    """Until when one call may go on, and who may end it sooner."""

    def __init__(self, timeout_s: float, cancelled: threading.Event | None) -> None:
        self._timeout_s = timeout_s
        self._end = time.monotonic() + timeout_s
        self._cancelled = cancelled

    @property
    def left_s(self) -> float:
        """Seconds until the deadline, never negative."""
        return max(0.0, self._end - time.monotonic())

    def check(self, doing: str) -> None:
        """Raise Cancelled, or ProviderError (timeout) saying what the call was doing."""
        if self._cancelled is not None and self._cancelled.is_set():
            raise Cancelled
        if self.left_s <= 0:
            raise ProviderError(
                f"expected an answer within {self._timeout_s:g} s, the call was still {doing}",
                cause="timeout",
                mend="Raise timeout_s, or lower max_tokens or max_parallel: the model answers one call at a time.",
            )


class Turns:
    """A queue that threads stand in; the first of it has its turn."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()

    @contextmanager
    def turn(self, limit: Limit) -> Iterator[None]:
        """Wait for the turn and hold it inside the block; raises what `limit.check` raises."""
        mine = object()
        with self._changed:
            self._queue.append(mine)
        try:
            self._wait(mine, limit)
            yield
        finally:
            with self._changed:
                self._queue.remove(mine)
                self._changed.notify_all()

    def _wait(self, mine: object, limit: Limit) -> None:
        with self._changed:
            limit.check("waiting for its turn")
            while self._queue[0] is not mine:
                self._changed.wait(min(_SLICE_S, limit.left_s))
                limit.check("waiting for its turn")
