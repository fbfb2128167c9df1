"""Turns: a model call waits for a model that is well, a free slot and its rate, over all processes of one home."""

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from elexirion_dagster.errors import Cancelled, Cause, ElexirionError
from elexirion_dagster.settings import Rate
from elexirion_dagster.store.accounts.gates import FAILURES, Gates, Shut
from elexirion_dagster.store.accounts.ledger_file import LedgerFile
from elexirion_dagster.store.accounts.rates import Rates
from elexirion_dagster.store.accounts.slots import Slots

_LOOK_S = 0.02
"""Between two looks at what other processes do; this process's own threads wake one another."""


class NoTurn(ElexirionError):  # noqa: N818  nothing went wrong with the call itself
    """A call that was not sent, because its turn would not come in time."""


class ClosedToCalls(NoTurn):
    """The circuit breaker kept the call from being sent."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call may wait for its turn.

    `pause_s` bounds the waiting for a model that is ill or whose server asked for a pause; with an `alternative` model
    an ill one is not waited for at all. `deadline` is a time.monotonic() value and bounds everything.
    """

    pause_s: float
    alternative: bool
    deadline: float | None
    cancelled: threading.Event

    def left_s(self) -> float:
        """Seconds until the deadline."""
        return float("inf") if self.deadline is None else self.deadline - time.monotonic()


@dataclass(slots=True)
class Turn:
    """One call's turn. Set `used_tokens` when it is known; until then its upper bound counts."""

    model: str
    tokens: int
    used_tokens: int
    names: list[str]
    probe: bool = False
    slots: list[int] = field(default_factory=list)
    sent: bool = False


class Turns:
    """Who may call now. Threads of a process go first come, first served; processes take turns."""

    def __init__(self, file: LedgerFile, rates: Mapping[str, Rate]) -> None:
        self._limits = rates
        self._gates = Gates(file)
        self._rates = Rates(file, rates)
        self._slots = Slots(file)
        self._lines: dict[str, _Line] = {}
        self._freed = threading.Event()

    @contextmanager
    def turn(self, model: str, tokens: int, patience: Patience) -> Iterator[Turn]:
        """Wait for the turn of a call of at most so many tokens, and take note of how the block, the call, ends.

        `model` is `provider/model`. Raises NoTurn or Cancelled when the turn does not come.
        """
        names = [name for name in (model, model.partition("/")[0]) if name in self._limits]
        turn = Turn(model, tokens, tokens, names)
        cause: Cause | None = "cancelled"
        retry_after_s = None
        try:
            self._wait(turn, patience)
            turn.sent = True
            yield turn
            cause = None
        except ElexirionError as error:
            cause, retry_after_s = error.cause, getattr(error, "retry_after_s", None)
            raise
        finally:
            self._end(turn, cause if turn.sent else "cancelled", retry_after_s)

    def _end(self, turn: Turn, cause: Cause | None, retry_after_s: float | None) -> None:
        self._leave(turn)
        used = 0 if cause == "rate_limited" else turn.used_tokens
        if turn.sent:
            self._rates.give_back(turn.names, turn.tokens - used)
        self._gates.tell(turn.model, cause, retry_after_s=retry_after_s, probe=turn.probe)

    def _leave(self, turn: Turn) -> None:
        self._slots.leave(turn.slots)
        turn.slots = []
        self._freed.set()

    def _wait(self, turn: Turn, patience: Patience) -> None:
        if not turn.names and self._gates.is_free(turn.model):
            self._sleep(turn, 0.0, patience)
            return
        line = self._lines.setdefault(turn.model, _Line())
        with line.front(patience.left_s()) as reached:
            if not reached:
                raise _too_late(turn.model, 0.0)
            while True:
                self._pass_gate(turn, patience)
                self._take_slots(turn, patience)
                self._take_place(turn, patience)
                if turn.probe or self._gates.is_free(turn.model):
                    return
                self._leave(turn)

    def _pass_gate(self, turn: Turn, patience: Patience) -> None:
        """Wait until the model is well, or this call may find out whether it is."""
        while isinstance(shut := self._gates.enter(turn.model), Shut):
            pause_s = 0.0 if shut.ill and patience.alternative else patience.pause_s
            if shut.until > shut.since + pause_s:
                raise _shut(turn.model, shut)
            self._sleep(turn, max(shut.until - time.time(), _LOOK_S), patience)
        turn.probe = shut

    def _take_slots(self, turn: Turn, patience: Patience) -> None:
        for name in turn.names:
            most = self._limits[name].slots
            if most is None:
                continue
            place = self._slots.line_up(name)
            turn.slots.append(place)
            while not self._moved_up(name, place, most):
                self._sleep(turn, 0.0, patience)
                self._freed.wait(_LOOK_S)

    def _moved_up(self, name: str, place: int, most: int) -> bool:
        self._freed.clear()  # before looking: what is freed after the look then ends the wait
        return self._slots.is_in(name, place, most)

    def _take_place(self, turn: Turn, patience: Patience) -> None:
        at = self._rates.place(turn.names, turn.tokens, latest=time.time() + patience.left_s())
        self._sleep(turn, max(at - time.time(), 0.0), patience)

    def _sleep(self, turn: Turn, wait_s: float, patience: Patience) -> None:
        if wait_s >= patience.left_s():
            raise _too_late(turn.model, wait_s)
        # A wait of no time at all would still hand the interpreter to another thread.
        if patience.cancelled.wait(wait_s) if wait_s > 0 else patience.cancelled.is_set():
            raise Cancelled


class _Line:
    """Threads of this process in the order they came. Only the first talks to the ledger: the others cost nothing."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()

    @contextmanager
    def front(self, timeout_s: float) -> Iterator[bool]:
        """Wait to be the first, and be it inside the block; False when that took too long.

        Whoever is cancelled while first leaves at once, and so the next one sees it.
        """
        mine = threading.Event()
        with self._lock:
            self._waiting.append(mine)
            self._waiting[0].set()
        try:
            yield mine.wait(min(max(timeout_s, 0.0), threading.TIMEOUT_MAX))
        finally:
            with self._lock:
                self._waiting.remove(mine)
                if self._waiting:
                    self._waiting[0].set()


def _too_late(model: str, wait_s: float) -> NoTurn:
    when = f" (it would in {wait_s:.1f} s)" if wait_s > 0 else ""
    return NoTurn(
        f"the turn of a call to {model} did not come before the step's or run's time was up{when}",
        cause="timeout",
        mend="Raise `timeout_s` or `budget.seconds`, or the limits in ELEXIRION_RATES if the provider allows more.",
    )


def _shut(model: str, shut: Shut) -> ClosedToCalls:
    until = f"{datetime.fromtimestamp(shut.until, UTC):%H:%M:%S} UTC"
    if shut.probing:
        why = f"{model} is ill ({shut.cause}), and one call is finding out whether it is well again"
    elif shut.ill:
        why = f"{model} failed {FAILURES} times in a row or more ({shut.cause}) and is left alone until {until}"
    else:
        why = f"the server of {model} asked for no calls before {until} ({shut.cause})"
    return ClosedToCalls(
        why, cause=shut.cause, mend="Wait, raise `retry.max_s`, or list a further model under `model`."
    )
