"""How much luck a slot may still use up: the error level of each try, 5 % in all on one holdout.

The first try gets 2 %, the next nine 0.28 % each, each one after that half of what is then left. All together stay at
or below 5 % however often is tried and however alike the tries are (a union bound needs no independence). The usual
sequence, 5 % of 6/(pi k)^2, leaves the tenth try 0.03 %; this one leaves it nine times that, because a slot that is
looked at weekly while its holdout grows comes to about ten tries. What a promoted try spent goes on to the next one
(the online fallback of Tian and Ramdas, 2021): a true discovery uses up nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from elexirion_dagster.store.registry.attempts import Attempt

TOTAL = 0.05
FIRST, NEXT, EVEN_TRIES = 0.02, 0.0028, 10
FRESH = 2
"""A holdout that has grown by this factor is a new one: at least half of its rows were in no try before."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What the next try may spend, and the how manieth it is on this holdout."""

    number: int
    alpha: float


def allowance(earlier: Sequence[Attempt], *, holdout: str, n: int) -> Allowance:
    """What a slot's next try on this holdout of `n` rows may spend.

    A try that came to no test spent nothing. One on other rows counts as long as the holdout has not doubled since.
    """
    counted = [
        attempt
        for attempt in earlier
        if attempt.p_value is not None and (attempt.holdout == holdout or n < FRESH * attempt.n)
    ]
    number = len(counted) + 1
    handed_on = counted[-1].alpha if counted and counted[-1].passed else 0.0
    return Allowance(number, min(share(number) + handed_on, TOTAL))


def share(number: int) -> float:
    """What the try of this number may spend by itself, counted from 1; all together never exceed TOTAL."""
    if number == 1:
        return FIRST
    if number <= EVEN_TRIES:
        return NEXT
    rest = TOTAL - FIRST - NEXT * (EVEN_TRIES - 1)
    return rest * 0.5 ** (number - EVEN_TRIES)
