"""The cap on threads of one run, nested fan-outs included."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

_LOOK_S = 0.05
"""How often a thread that waits for a permit looks for one."""


class Threads:
    """Permits for worker threads. A caller always works itself, so nesting cannot deadlock."""

    def __init__(self, limit: int, outer: "Threads | None" = None) -> None:
        self._free = threading.Semaphore(limit)
        self._outer = outer

    def within(self, limit: int) -> "Threads":
        """The same for a part of the run that may use no more threads than that, its caller's included."""
        return Threads(limit - 1, self)

    def take(self) -> bool:
        """Take a permit if there is a free one."""
        if not self._free.acquire(blocking=False):
            return False
        if self._outer is None or self._outer.take():
            return True
        self._free.release()
        return False

    def give(self) -> None:
        """Give a permit back."""
        self._free.release()
        if self._outer is not None:
            self._outer.give()

    @contextmanager
    def seat(self, *, deadline: float | None, cancelled: threading.Event) -> Iterator[None]:
        """Hold a permit for a thread that came from elsewhere; without a free one wait, until the deadline at most."""
        held = self.take()
        while not (held or cancelled.is_set() or (deadline is not None and time.monotonic() >= deadline)):
            time.sleep(_LOOK_S)
            held = self.take()
        try:
            yield
        finally:
            if held:
                self.give()

    def each(self, work: Callable[[int], None], items: Sequence[int], *, max_parallel: int) -> None:
        """Call `work(item)` for each item, up to `max_parallel` at once, and return when all are done.

        `work` must not raise for reasons of its own: an exception ends the fan-out and is raised here.
        """
        _FanOut(self, work, items, max_parallel).run()


class _FanOut:
    """One fan-out: every worker that takes an item also starts another one while there is a free permit."""

    def __init__(self, threads: Threads, work: Callable[[int], None], items: Sequence[int], max_parallel: int) -> None:
        self._threads = threads
        self._work = work
        self._todo = iter(items)
        self._left = len(items)
        self._wanted = max_parallel - 1
        self._lock = threading.Lock()
        self._extra: list[threading.Thread] = []
        self._errors: list[BaseException] = []

    def run(self) -> None:
        self._worker()
        for thread in self._extra:  # grows no more: the last item is taken
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _worker(self) -> None:
        while not self._errors:
            with self._lock:
                item = next(self._todo, None)
                if item is None:
                    return
                self._left -= 1
                more = self._left > 0 and len(self._extra) < self._wanted and self._threads.take()
                if more:
                    self._extra.append(threading.Thread(target=self._extra_worker, name="elexirion-item", daemon=True))
                    self._extra[-1].start()
            try:
                self._work(item)
            except BaseException as error:  # noqa: BLE001 - raised again by the caller
                self._errors.append(error)

    def _extra_worker(self) -> None:
        try:
            self._worker()
        finally:
            self._threads.give()
