"""What a model call may spend: the budgets it counts in, and its upper bound held in them until the cost is known."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from elexirion_dagster.errors import Cancelled, ElexirionError, PolicyError
from elexirion_dagster.providers.pricing import Bound, ModelPrice, upper_bound
from elexirion_dagster.records import Request
from elexirion_dagster.spec.base import Amounts, Budget
from elexirion_dagster.store.accounts.ledger import PRICE_MEND, Ledger, Limit
from elexirion_dagster.store.accounts.turns import Patience

_LOOK_S = 0.5
"""Between two looks at what other processes have settled; this process's own calls wake one another."""
Count = Callable[[], int | None]
"""Asks the provider how many tokens the input of a call has; None where it cannot tell."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """The budgets around a call, outermost first: what they allow together, and what each allows a single call."""

    limits: tuple[Limit, ...] = ()
    calls: tuple[Amounts, ...] = ()

    def under(self, scope: str, budget: Budget) -> "Allowance":
        """Return this and one more budget inside it; `scope` is the account in which it is kept."""
        in_all = budget.usd is not None or budget.tokens is not None
        limit = (Limit(scope, budget.usd, budget.tokens),) if in_all else ()
        return Allowance(self.limits + limit, self.calls + ((budget.call,) if budget.call is not None else ()))

    def attempt_s(self, most: float) -> float:
        """Seconds that one attempt may take, at most `most`."""
        return min([most, *(call.seconds for call in self.calls if call.seconds is not None)])


class Reservation:
    """A call's upper bound in all budgets around it; what is not settled at the end stands."""

    def __init__(self, ledger: Ledger, reservation: str | None, bound: Bound, settled: threading.Condition) -> None:
        self.bound = bound
        self._ledger = ledger
        self._reservation = reservation
        self._settled = settled

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.settle(usd=None, tokens=self.bound.tokens)

    def settle(self, *, usd: float | None, tokens: int) -> None:
        """Put what it came to in place of the bound, once; `usd` None (not known) leaves the dollars standing."""
        if self._reservation is not None:
            reservation, self._reservation = self._reservation, None
            self._ledger.settle(reservation, usd=usd, tokens=tokens)
            with self._settled:
                self._settled.notify_all()


class Reservations:
    """The budgets of one home as one run's calls meet them. Thread-safe. `day` is what a day (UTC) allows."""

    def __init__(self, ledger: Ledger, prices: Mapping[str, ModelPrice], day: Amounts) -> None:
        self._ledger = ledger
        self._prices = prices
        self._day = day if day.usd is not None or day.tokens is not None else None
        self._settled = threading.Condition()

    def bound(self, provider: str, request: Request, counted: int | None = None) -> Bound:
        """What a call can come to at most: by its bytes, or by what the provider `counted`."""
        return upper_bound(provider, request, self._prices, counted)

    def hold(
        self,
        allowance: Allowance,
        provider: str,
        request: Request,
        *,
        bound: Bound,
        count: Count,
        patience: Patience,
    ) -> Reservation:
        """Hold the bound of a call in every budget at once. Raises PolicyError (`budget_exceeded`) and Cancelled.

        `bound` is the one by bytes, which costs nothing to know. Only where that does not fit, and less input could,
        is the provider asked to `count`; without an answer the bytes stand. What fits but for the bounds of calls
        under way waits for these to end, as long as `patience` lasts.
        """
        limits = (*allowance.limits, *self._today())
        try:
            return self._held(limits, allowance.calls, bound)
        except PolicyError:
            least = self.bound(provider, request, 0)
            counted = _count(count) if self._has_room(limits, allowance.calls, least) else None
            closer = bound if counted is None else self.bound(provider, request, counted)
        _check_calls(allowance.calls, closer)
        while True:
            try:
                return self._reserved(limits, closer)
            except PolicyError:
                if not self._waits(limits, closer, patience):
                    raise

    def _waits(self, limits: tuple[Limit, ...], bound: Bound, patience: Patience) -> bool:
        """Wait until a call under way may have ended; False when that would not help, or there is no time."""
        left_s = patience.left_s()
        if left_s <= 0 or not self._ledger.will_have_room(limits, usd=bound.usd, tokens=bound.tokens):
            return False
        with self._settled:
            self._settled.wait(min(_LOOK_S, left_s))
        if patience.cancelled.is_set():
            raise Cancelled
        return True

    def _today(self) -> tuple[Limit, ...]:
        """The day's budget: of the day on which a call is sent, however long its run has been going on."""
        if self._day is None:
            return ()
        return (Limit(f"day:{datetime.now(UTC).date()}", self._day.usd, self._day.tokens),)

    def _held(self, limits: tuple[Limit, ...], calls: tuple[Amounts, ...], bound: Bound) -> Reservation:
        _check_calls(calls, bound)
        return self._reserved(limits, bound)

    def _reserved(self, limits: tuple[Limit, ...], bound: Bound) -> Reservation:
        reservation = self._ledger.reserve(limits, usd=bound.usd, tokens=bound.tokens) if limits else None
        return Reservation(self._ledger, reservation, bound, self._settled)

    def _has_room(self, limits: tuple[Limit, ...], calls: tuple[Amounts, ...], bound: Bound) -> bool:
        room = all(_fits(call, bound) for call in calls)
        return room and self._ledger.has_room(limits, usd=bound.usd, tokens=bound.tokens)


def _count(count: Count) -> int | None:
    """The count, or None: a count that fails or is late must not fail a call that was not sent yet."""
    try:
        counted = count()
    except Cancelled:
        raise
    except ElexirionError:
        return None
    return None if counted is None or counted < 0 else counted


def _check_calls(calls: tuple[Amounts, ...], bound: Bound) -> None:
    for call in calls:
        if not _fits(call, bound):
            raise _too_large(call, bound)


def _fits(call: Amounts, bound: Bound) -> bool:
    dollars = call.usd is None or (bound.usd is not None and bound.usd <= call.usd)
    return dollars and (call.tokens is None or bound.tokens <= call.tokens)


def _too_large(call: Amounts, bound: Bound) -> PolicyError:
    if call.usd is not None and bound.usd is None:
        message = f"one call may cost ${call.usd:.6g}, and the price of this model is not known"
        return PolicyError(message, cause="budget_exceeded", mend=PRICE_MEND)
    if call.usd is not None and bound.usd is not None and bound.usd > call.usd:
        most, asked = f"${call.usd:.6g}", f"${bound.usd:.6g}"
    else:
        most, asked = f"{call.tokens} tokens", f"{bound.tokens}"
    return PolicyError(
        f"one call may spend {most}, this one may need {asked}",
        cause="budget_exceeded",
        mend="Raise `budget.call`, lower `max_tokens`, send less text, or take a cheaper model.",
    )
