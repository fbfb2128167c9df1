"""The cap on threads of one run, nested fan-outs included."""

import threading
from collections.abc import Callable, Sequence


class Threads:
    """Permits for worker threads. A caller always works itself, so nesting cannot deadlock."""

    def __init__(self, limit: int) -> None:
        self._free = threading.BoundedSemaphore(limit)

    def each(self, work: Callable[[int], None], count: int, *, max_parallel: int) -> None:
        """Call `work(index)` for 0..count-1, up to `max_parallel` at once, and return when all are done.

        `work` must not raise for reasons of its own: an exception ends the fan-out and is raised here.
        """
        todo = iter(range(count))
        lock = threading.Lock()
        errors: list[BaseException] = []

        def worker() -> None:
            while not errors:
                with lock:
                    index = next(todo, None)
                if index is None:
                    return
                try:
                    work(index)
                except BaseException as error:  # noqa: BLE001 - raised again by the caller
                    errors.append(error)

        extra = self._start(worker, min(max_parallel, count) - 1)
        worker()
        for thread in extra:
            thread.join()
        if errors:
            raise errors[0]

    def _start(self, worker: Callable[[], None], wanted: int) -> Sequence[threading.Thread]:
        """Start as many of the wanted threads as there are permits for."""

        def run() -> None:
            try:
                worker()
            finally:
                self._free.release()

        started: list[threading.Thread] = []
        while len(started) < wanted and self._free.acquire(blocking=False):
            thread = threading.Thread(target=run, name="elexirion-item", daemon=True)
            thread.start()
            started.append(thread)
        return started
