"""Candidates that no other beats in everything, and the one among them to put before the gate."""

from collections.abc import Sequence

from elexirion_dagster.spec.learning import Optimize
from optimizer_assets.task import Measured

EPSILON = 0.02
"""Qualities this near to the best count as equally good when the cheapest is chosen."""
FALL = 0.1
"""So much less a call must cost, or take, to count as cheaper or faster."""
_EXACT = 1e-9


def front(measured: Sequence[Measured]) -> tuple[Measured, ...]:
    """The non-dominated ones by quality, cost and latency, in their order; of equals the first.

    What is not known of one of them is compared for none: an unknown price is neither low nor high.
    """
    points = [_point(one, measured) for one in measured]
    return tuple(
        one
        for at, one in enumerate(measured)
        if not any(
            _dominates(other, points[at]) or (other == points[at] and there < at) for there, other in enumerate(points)
        )
    )


def choose(measured: Sequence[Measured], base: Measured, settings: Optimize) -> Measured | None:
    """By constraint: best quality within the limits, then the cheapest within EPSILON of it; None: nothing to try.

    Only those are looked at that are better than the base, or as good while cost or latency falls by FALL.
    """
    worth = [one for one in measured if within_limits(one, settings) and _accepted(one, base, settings)]
    if not worth:
        return None
    best = max(one.quality for one in worth)
    near = [one for one in worth if one.quality >= best - EPSILON - _EXACT]
    wanted = [objective for objective in settings.objectives if objective != "quality"]
    return min(near, key=lambda one: (*(_known(one, objective) for objective in wanted), -one.quality))


def within_limits(one: Measured, settings: Optimize) -> bool:
    """Whether a candidate keeps the user's limits; what is not known keeps none."""
    limits = settings.limits
    pairs = ((limits.usd_per_call, one.cost_usd), (limits.p95_s, one.latency_s))
    return all(limit is None or (value is not None and value <= limit) for limit, value in pairs)


def _accepted(one: Measured, base: Measured, settings: Optimize) -> bool:
    if one.candidate == base.candidate:
        return False
    if one.quality > base.quality + _EXACT:
        return True
    falls = (_fell(one, base, objective) for objective in settings.objectives if objective != "quality")
    return one.quality >= base.quality - _EXACT and any(falls)


def _fell(one: Measured, base: Measured, objective: str) -> bool:
    mine, theirs = _value(one, objective), _value(base, objective)
    return mine is not None and theirs is not None and theirs > 0 and mine <= theirs * (1 - FALL)


def _known(one: Measured, objective: str) -> float:
    """A value to sort by; unknown comes last."""
    value = _value(one, objective)
    return float("inf") if value is None else value


def _value(one: Measured, objective: str) -> float | None:
    return one.cost_usd if objective == "cost" else one.latency_s


def _point(one: Measured, among: Sequence[Measured]) -> tuple[float, ...]:
    """Where a candidate stands, more being better, in what is known of all."""
    costs = [] if any(other.cost_usd is None for other in among) else [-(one.cost_usd or 0.0)]
    seconds = [] if any(other.latency_s is None for other in among) else [-(one.latency_s or 0.0)]
    return (one.quality, *costs, *seconds)


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(mine >= theirs for mine, theirs in zip(one, other, strict=True))
