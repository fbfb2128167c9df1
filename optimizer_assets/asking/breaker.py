"""A provider that is dead is found out after a few attempts, however many threads ask it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from elexirion_dagster.errors import Cause, ElexirionError
from elexirion_dagster.providers.base import ProviderError

MOST_FAILURES = 8
"""So many attempts in a row that failed, and nothing more is sent."""
_PERMANENT: frozenset[Cause] = frozenset({"auth", "billing", "model_not_found"})
"""Causes that no further attempt mends."""
ABOUT_THE_ROW: frozenset[Cause] = frozenset({"refused", "truncated", "context_exceeded", "malformed_output"})
"""Causes that lie in what was asked, not in the provider."""


class Breaker:
    """Counts attempts that failed in a row. Thread-safe.

    No more attempts are under way at once than may still fail, so that never more than MOST_FAILURES go to a dead one.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._failures = 0
        self._under_way = 0
        self._last: ProviderError | None = None

    @contextmanager
    def attempt(self) -> Iterator[Callable[[str], None] | None]:
        """Around one attempt. Raises ProviderError without sending anything once the breaker is open."""
        with self._changed:
            self._changed.wait_for(lambda: self.open or self._under_way < MOST_FAILURES - self._failures)
            if self.open:
                raise ProviderError("not sent: the model has failed too often", cause="cancelled")
            self._under_way += 1
        try:
            yield None
        except ProviderError as error:
            self._ended(error)
            raise
        except BaseException:
            self._left()
            raise
        self._ended(None)

    @property
    def open(self) -> bool:
        """Whether nothing more is sent."""
        return self._failures >= MOST_FAILURES

    def check(self, model: str) -> None:
        """Raise ElexirionError with the last failure if the breaker is open."""
        if self.open:
            self.give_up(model)

    def give_up(self, model: str) -> None:
        """Raise ElexirionError with the last failure, if there was one."""
        last = self._last
        if last is not None:
            raise ElexirionError(
                f"{model} was given up ({last.cause}): {last.message}",
                cause=last.cause,
                mend=last.mend or "See that the model answers, then start again: what was paid for is not paid twice.",
            ) from last

    def _ended(self, error: ProviderError | None) -> None:
        with self._changed:
            self._under_way -= 1
            if error is None or error.cause in ABOUT_THE_ROW:
                self._failures = 0 if not self.open else self._failures
            else:
                self._failures = MOST_FAILURES if error.cause in _PERMANENT else self._failures + 1
                self._last = error
            self._changed.notify_all()

    def _left(self) -> None:
        with self._changed:
            self._under_way -= 1
            self._changed.notify_all()
