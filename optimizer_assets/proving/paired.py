"""Two prompts on the same rows: is one better, is one not worse. Exact and resampled figures, pure arithmetic."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from elexirion_dagster.errors import InputError
from optimizer_assets.task import Tried

RESAMPLES = 2_000
_STEPS = 50


@dataclass(frozen=True, slots=True)
class Paired:
    """What changed from base to new, added up per group: rows of one file are one witness, not many.

    `changes` are the sums of each group, `sizes` its numbers of rows.
    """

    changes: tuple[float, ...]
    sizes: tuple[int, ...]

    @property
    def units(self) -> int:
        """How many independent groups there are."""
        return len(self.sizes)

    @property
    def mean(self) -> float:
        """The mean change of a row."""
        return math.fsum(self.changes) / sum(self.sizes)

    @property
    def wins(self) -> int:
        """Groups that rose."""
        return sum(change > 0 for change in self.changes)

    @property
    def losses(self) -> int:
        """Groups that fell."""
        return sum(change < 0 for change in self.changes)

    def with_unseen_loss(self) -> "Paired":
        """The same with one row more that was lost altogether: the risk that nobody has met yet."""
        return Paired((*self.changes, -1.0), (*self.sizes, 1))


def pair(base: Sequence[Tried], new: Sequence[Tried], value: Callable[[Tried], float]) -> Paired:
    """The changes of a value, row by row, then by group. InputError when the rows are not the same, once each."""
    keys, others = [one.row.key for one in base], [one.row.key for one in new]
    if not keys or sorted(keys) != sorted(others) or len({*keys}) != len(keys):
        raise InputError(
            f"expected both prompts on the same rows, each once; came {len(keys)} and {len(others)} answers, "
            f"{len({*keys} & {*others})} rows in common",
            mend="Ask both about the whole holdout.",
        )
    before = {one.row.key: value(one) for one in base}
    groups: dict[str, list[float]] = {}
    for one in sorted(new, key=lambda tried: tried.row.key):
        groups.setdefault(one.row.group, []).append(value(one) - before[one.row.key])
    return Paired(tuple(map(math.fsum, groups.values())), tuple(map(len, groups.values())))


def flip_p(changes: Sequence[float]) -> float:
    """The chance of a sum as high as this if every change could as well have gone the other way; exact.

    The changes are rounded to fiftieths first, ups and downs alike, which keeps the test exact.
    """
    steps = [math.copysign(math.floor(abs(change) * _STEPS + 0.5), change) for change in changes]
    divisor = math.gcd(*(int(abs(step)) for step in steps)) or 1
    whole = [int(step) // divisor for step in steps if step]
    shares = [1.0]  # shares[s]: the chance that the changes that go up add up to s
    for size in map(abs, whole):
        rest = [0.0] * size
        shares = [(stay + up) / 2 for stay, up in zip(shares + rest, rest + shares, strict=True)]
    return min(math.fsum(shares[sum(step for step in whole if step > 0) :]), 1.0)


def sign_p(wins: int, losses: int) -> float:
    """The chance of at least so many wins if wins and losses were equally likely (one-sided sign test)."""
    return flip_p([1.0] * wins + [-1.0] * losses)


def net_wins_needed(discordant: int, alpha: float) -> int | None:
    """The fewest net wins among so many changed rows that chance gives with at most `alpha`; None: too few rows."""
    for losses in range(discordant // 2, -1, -1):
        if sign_p(discordant - losses, losses) <= alpha:
            return discordant - 2 * losses
    return None


def bounds(paired: Paired, alpha: float, *, seed: int) -> tuple[float, float]:
    """The mean change as a paired bootstrap over groups sees it: `alpha` of the resamples lie below, `alpha` above."""
    change, size = paired.changes.__getitem__, paired.sizes.__getitem__
    rows = sum(paired.sizes) if len({*paired.sizes}) == 1 else None  # equal groups: every resample has as many
    draws = _draws(paired.units, seed)
    means = sorted(sum(map(change, drawn)) / (rows or sum(map(size, drawn))) for drawn in draws)
    cut = min(int(alpha * RESAMPLES), RESAMPLES // 2 - 1)
    return means[cut], means[-1 - cut]


@lru_cache(maxsize=2)
def _draws(units: int, seed: int) -> list[list[int]]:
    """Which groups each resample holds; kept, because a holdout is looked at several times."""
    chance = random.Random(seed)  # noqa: S311 - resampling, not secrets
    everything = range(units)
    return [chance.choices(everything, k=units) for _ in range(RESAMPLES)]
