"""Whether one stream of figures is worse than another, asked again after every row: a test by betting.

Figures lie in [0, 1]. Rows of the new stream are set against rows of the old one. As long as the new is no worse, no
difference is expected to be in favour of a gambler who bets that it is, so that their wealth is a nonnegative
supermartingale that begins at 1. By Ville's inequality it ever reaches 1/alpha with a probability of at most alpha:
however often one looks, and whenever one stops. Nothing is assumed of the distribution. (Waudby-Smith and Ramdas,
"Estimating means of bounded random variables by betting", 2024.)
"""

from collections.abc import Iterable, Iterator, Sequence

_BETS = (0.05, 0.1, 0.2, 0.4, 0.8)
"""What part of the wealth is risked. An equal part of it is put on each; that mean is a supermartingale too."""


def evidence(gains: Iterable[float]) -> float:
    """The most that a gambler ever had who began with 1 and bet that the mean of `gains` (each >= -1) is above 0."""
    wealth = [1.0] * len(_BETS)
    most = 1.0
    for gain in gains:
        wealth = [now * (1.0 + bet * gain) for now, bet in zip(wealth, _BETS, strict=True)]
        most = max(most, sum(wealth) / len(wealth))
    return most


def differences(rows: Iterable[tuple[bool, float]]) -> Iterator[float]:
    """New minus old of two streams that run beside one another, given as (is new, figure) in order of time.

    As soon as there are rows of both, the mean of the one is set against the mean of the other: where one row in ten is
    new, each meets the mean of some nine.
    """
    waiting: dict[bool, list[float]] = {True: [], False: []}
    for is_new, figure in rows:
        waiting[is_new].append(figure)
        if waiting[True] and waiting[False]:
            yield _mean(waiting[True]) - _mean(waiting[False])
            waiting = {True: [], False: []}


def differences_from(before: Sequence[float], after: Iterable[float], *, most: int = 200) -> Iterator[float]:
    """New minus old where the old stream ended before the new one began: each old row is used once.

    Where there are many old rows, up to five are set against each new one. When they are used up, or after `most` new
    rows, there is nothing more to be learned.
    """
    size = min(max(len(before) // most, 1), 5)
    blocks = (before[start : start + size] for start in range(0, len(before) - size + 1, size))
    for _, block, figure in zip(range(most), blocks, after, strict=False):
        yield figure - _mean(block)


def _mean(figures: Sequence[float]) -> float:
    return sum(figures) / len(figures)
