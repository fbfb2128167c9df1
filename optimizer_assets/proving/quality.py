"""Whether a candidate is better than the base on rows that nothing learned from, or as good and cheaper.

A false promotion costs at most what the try was allowed (`spending.py`): the level is divided between the proof that
quality rose and, where cost or latency count, the proof that one of them fell. That quality held may use the whole
level: where it truly fell by more than the margin, "it rose" is a part of "it held".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from elexirion_dagster.errors import InputError
from elexirion_dagster.records import Json, counted
from elexirion_dagster.spec.learning import Objective, Optimize
from elexirion_dagster.store.registry.attempts import Attempt
from optimizer_assets.proving.drafts import Check
from optimizer_assets.proving.paired import RESAMPLES, Paired, bounds, flip_p, net_wins_needed, pair, sign_p
from optimizer_assets.proving.spending import TOTAL, Allowance, allowance
from optimizer_assets.rows.splits import digest
from optimizer_assets.scoring.metrics import mark
from optimizer_assets.searching.fronts import FALL
from optimizer_assets.task import Tried

Outcome = Literal["promote", "canary", "keep"]

CLAIM_UNITS = 50
"""With fewer independent rows nothing is claimed: a version is tried out at most."""
MARGIN = 0.05
"""A mean score lower by less than this counts as not worse."""
_FOR_FALLS = 0.05
"""The part of a try's level that the proofs of lower cost and latency may use."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What the holdout says: the check for people, what follows, and the figures of this try."""

    check: Check
    outcome: Outcome
    alpha: float
    p_value: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Levels:
    """What may be spent: on `rise` of quality, on the `fall` of each other objective, on `held`."""

    rise: float
    fall: float
    held: float


@dataclass(frozen=True, slots=True)
class _Both:
    base: Sequence[Tried]
    new: Sequence[Tried]
    seed: int


def decide(
    settings: Optimize, base: Sequence[Tried], new: Sequence[Tried], earlier: Sequence[Attempt], *, seed: int
) -> Decided:
    """Compare both prompts on the same rows. InputError when the rows differ or a score is none."""
    scores = pair(base, new, _score)
    allowed = allowance(earlier, holdout=digest(one.row for one in base), n=len(base))
    levels = _levels(settings, allowed)
    interval = bounds(scores, levels.rise, seed=seed)
    both = _Both(base, new, seed)
    shared = _shared(scores, both, allowed, levels, interval)
    if scores.units < CLAIM_UNITS:
        p_value, outcome, why, more = _tried_out(scores, levels, interval)
    else:
        p_value, outcome, why, more = _claimed(settings, scores, levels, interval, both)
    check = Check("quality", passed=outcome != "keep", why=why, figures={**shared, "p_value": p_value, **more})
    return Decided(check, outcome, levels.rise, p_value, interval)


_Finding = tuple[float, Outcome, str, dict[str, Json]]


def _tried_out(scores: Paired, levels: _Levels, interval: tuple[float, float]) -> _Finding:
    """Few rows: not worse, and so many net wins as chance seldom gives; then a canary, never a claim."""
    changed, net = scores.wins + scores.losses, scores.wins - scores.losses
    needed = net_wins_needed(changed, levels.rise)
    p_value = sign_p(scores.wins, scores.losses)
    more: dict[str, Json] = {"net_wins": net, "k": needed, "k_alpha": levels.rise}
    of = f"{net} net wins among {counted(changed, 'changed row')}, {scores.units} independent rows"
    if needed is None:
        return p_value, "keep", f"{of}: too few changed to tell from chance at {levels.rise:.2%}", more
    if net < needed:
        return p_value, "keep", f"{of}: expected at least k = {needed} (alpha {levels.rise:.2%})", more
    if interval[0] <= -MARGIN:
        return p_value, "keep", f"{of}, but the mean may be lower by {-interval[0]:.3f}, margin {MARGIN}", more
    return p_value, "canary", f"{of}, k = {needed} (alpha {levels.rise:.2%}): to be tried out, not yet proven", more


def _claimed(
    settings: Optimize, scores: Paired, levels: _Levels, interval: tuple[float, float], both: _Both
) -> _Finding:
    """Enough rows: quality rose, or it held while cost or latency fell."""
    p_value = flip_p(scores.changes)
    if p_value <= levels.rise and interval[0] > 0:
        return p_value, "promote", f"the mean score rose by {scores.mean:.3f} ({_sure(p_value, levels.rise)})", {}
    fell = [name for name in settings.objectives if name != "quality" and _fell(name, both, levels.fall)]
    said = f"no rise is proven: {scores.mean:+.3f} ({_sure(p_value, levels.rise)})"
    if not fell:
        return p_value, "keep", said, {}
    lowest = bounds(scores.with_unseen_loss(), levels.held, seed=both.seed)[0]
    more: dict[str, Json] = {"fell": list(fell), "lowest": lowest, "margin": MARGIN}
    what = " and ".join(fell)
    if lowest > -MARGIN:
        return p_value, "promote", f"{what} fell while the score held: change at least {lowest:.3f}", more
    return p_value, "keep", f"{said}; {what} fell, but the score may have, too: by {-lowest:.3f}", more


def _fell(objective: Objective, both: _Both, alpha: float) -> bool:
    """Whether an objective is lower by FALL, in the sum and row by row.

    Time is believed only where the tokens fell too: a quieter hour is no better prompt.
    """
    if objective == "cost":
        return _lower(both, _dollars if _priced((*both.base, *both.new)) else _tokens, alpha)
    timed = all(one.latency_s is not None for one in (*both.base, *both.new))
    return timed and _lower(both, _seconds, alpha) and _lower(both, _tokens, alpha)


def _lower(both: _Both, value: Callable[[Tried], float], alpha: float) -> bool:
    changes = pair(both.base, both.new, value)
    enough = fmean(map(value, both.new)) <= fmean(map(value, both.base)) * (1 - FALL)
    return enough and sign_p(changes.losses, changes.wins) <= alpha


def _levels(settings: Optimize, allowed: Allowance) -> _Levels:
    others = len({*settings.objectives} - {"quality"})
    for_falls = allowed.alpha * _FOR_FALLS if others else 0.0
    return _Levels(allowed.alpha - for_falls, for_falls / max(others, 1), allowed.alpha)


def _shared(
    scores: Paired, both: _Both, allowed: Allowance, levels: _Levels, interval: tuple[float, float]
) -> dict[str, Json]:
    return {
        "base": fmean(map(_score, both.base)),
        "new": fmean(map(_score, both.new)),
        "change": scores.mean,
        "interval": list(interval),
        "interval_level": 1 - 2 * levels.rise,
        "resamples": RESAMPLES,
        "rows": len(both.base),
        "independent": scores.units,
        "wins": scores.wins,
        "losses": scores.losses,
        "alpha": levels.rise,
        "try": allowed.number,
        "alpha_in_all": TOTAL,
    }


def _sure(p_value: float, alpha: float) -> str:
    return f"p {p_value:.2g}, allowed {alpha:.2g}"


def _score(one: Tried) -> float:
    score = mark(one.score)
    if score is None:
        raise InputError(
            f"expected a score from 0 to 1 for row {one.row.key[:12]}, came {one.score!r}",
            mend="Look at the metric: it must give a number for every answer.",
        )
    return score


def _priced(tried: Sequence[Tried]) -> bool:
    return all(one.cost_usd is not None for one in tried) and any(one.cost_usd for one in tried)


def _dollars(one: Tried) -> float:
    return one.cost_usd or 0.0


def _seconds(one: Tried) -> float:
    return one.latency_s or 0.0


def _tokens(one: Tried) -> float:
    return float(one.tokens)
