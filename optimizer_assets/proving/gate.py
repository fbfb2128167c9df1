"""The last word before a prompt is put to use: everything must hold, and the figures say what was proven."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from elexirion_dagster.records import Json, counted
from elexirion_dagster.redact import Redactor
from elexirion_dagster.store.learned.learning import Row
from elexirion_dagster.store.registry.attempts import Attempt
from optimizer_assets.proving.drafts import Check, asked_of, leaks, lengths, renders, secrets
from optimizer_assets.proving.quality import Outcome, decide
from optimizer_assets.rows.splits import digest
from optimizer_assets.rows.texts import canonical
from optimizer_assets.task import Candidate, Task, Tried

__all__ = ["Check", "Outcome", "Verdict", "judge_candidate"]

_P95 = 0.95
_SAME = 1e-9


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a candidate, and why.

    `alpha` is what this try could spend on quality, `p_value` what it came to, `interval` the mean change of the score
    with `alpha` to either side, over `n` rows; `holdout` identifies those. To be written down as an attempt.
    """

    checks: tuple[Check, ...]
    outcome: Outcome
    alpha: float
    p_value: float | None
    interval: tuple[float, float] | None
    n: int
    holdout: str


def judge_candidate(
    task: Task,
    candidate: Candidate,
    base: Sequence[Tried],
    new: Sequence[Tried],
    *,
    again: Sequence[Tried],
    train: Sequence[Row],
    earlier: Sequence[Attempt],
    redactor: Redactor,
) -> Verdict:
    """Decide on a candidate from both prompts' answers to the holdout; `again` are the new one's after reloading.

    `earlier` are all attempts on the slot. InputError when the answers cannot be compared: other rows, no scores.
    """
    holdout = [one.row for one in base]
    identity, asked = digest(holdout), asked_of(task, holdout)
    decided = decide(task.settings, base, new, earlier, seed=int(identity, 16))
    checks = (
        renders(task, candidate, asked),
        _parses(base, new),
        lengths(task, candidate),
        _must_pass(base, new),
        decided.check,
        _cost(task.settings.limits.usd_per_call, base, new),
        _latency(task.settings.limits.p95_s, base, new),
        leaks(task, candidate, train, holdout, asked),
        secrets(candidate, redactor),
        _reloaded(new, again),
    )
    return Verdict(
        checks=checks,
        outcome=decided.outcome if all(check.passed for check in checks) else "keep",
        alpha=decided.alpha,
        p_value=decided.p_value,
        interval=decided.interval,
        n=len(holdout),
        holdout=identity,
    )


def _parses(base: Sequence[Tried], new: Sequence[Tried]) -> Check:
    """The new prompt leaves no more answers that cannot be used than the base does."""
    before, after = ([one for one in tried if one.error is not None] for tried in (base, new))
    last = f", such as: {after[-1].error}" if after else ""
    return Check(
        "parses",
        passed=len(after) <= len(before),
        why=f"{counted(len(after), 'unusable answer')} of {len(new)}, {len(before)} with the base{last}",
        figures={"unusable": len(after), "unusable_base": len(before)},
    )


def _must_pass(base: Sequence[Tried], new: Sequence[Tried]) -> Check:
    """No row that must pass scores lower than before."""
    before = {one.row.key: one.score for one in base}
    bound = [one for one in new if one.row.must_pass]
    lost = [one.row.key[:12] for one in bound if one.score < before[one.row.key] - _SAME]
    said = f"lost: {', '.join(lost)}" if lost else f"none of {len(bound)} lost"
    return Check("must_pass", passed=not lost, why=said, figures={"rows": len(bound), "lost": list(lost)})


def _cost(limit: float | None, base: Sequence[Tried], new: Sequence[Tried]) -> Check:
    return _ceiling("cost", "usd_per_call", limit, _over(fmean, "cost_usd", base), _over(fmean, "cost_usd", new))


def _latency(limit: float | None, base: Sequence[Tried], new: Sequence[Tried]) -> Check:
    return _ceiling("latency", "p95_s", limit, _over(_p95, "latency_s", base), _over(_p95, "latency_s", new))


def _ceiling(name: str, figure: str, limit: float | None, base: float | None, new: float | None) -> Check:
    """The user's limit is kept; what is not known cannot keep one."""
    figures: dict[str, Json] = {figure: new, f"{figure}_base": base, "limit": limit}
    shown = "not known" if new is None else f"{new:.6g}"
    if limit is None:
        return Check(name, passed=True, why=f"{figure} {shown}, no limit set", figures=figures)
    passed = new is not None and new <= limit
    return Check(name, passed=passed, why=f"{figure} {shown}, limit {limit:g}", figures=figures)


def _over(figure: Callable[[list[float]], float], field: str, tried: Sequence[Tried]) -> float | None:
    """A figure over all answers; None where one of them is not known."""
    values = [getattr(one, field) for one in tried]
    known = [value for value in values if value is not None]
    return figure(known) if known and len(known) == len(values) else None


def _p95(values: list[float]) -> float:
    return sorted(values)[math.ceil(_P95 * len(values)) - 1]


def _reloaded(new: Sequence[Tried], again: Sequence[Tried]) -> Check:
    """The saved version, read back, gives the same answers and scores: what was judged is what will be used."""
    mine = {one.row.key: (one.score, canonical(one.answer)) for one in new}
    other = {one.row.key: (one.score, canonical(one.answer)) for one in again}
    wrong = sorted(key[:12] for key in mine.keys() | other.keys() if mine.get(key) != other.get(key))
    said = f"differs on {len(wrong)}: {', '.join(wrong[:3])}" if wrong else f"the same on {counted(len(mine), 'row')}"
    return Check("reloaded", passed=not wrong, why=said, figures={"rows": len(other), "different": len(wrong)})
