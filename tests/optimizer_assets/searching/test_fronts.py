"""Whether what nothing beats is kept, and the right one of it chosen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elexirion_dagster.spec.learning import Optimize
from optimizer_assets.searching.fronts import choose, front
from optimizer_assets.task import Candidate, Measured

ALL = Optimize(objectives=("quality", "cost", "latency"))


def at(quality, cost=1.0, seconds=1.0, name=""):
    return Measured(Candidate(name or f"{quality} {cost} {seconds}"), quality, cost, seconds, "gepa", 20)


POINTS = st.lists(
    st.builds(at, *(st.integers(0, 4).map(lambda number: number / 4),) * 3, st.text("ab", min_size=1, max_size=9)),
    min_size=1,
    max_size=12,
)


def beats(one, other):
    mine, theirs = ((point.quality, -point.cost_usd, -point.latency_s) for point in (one, other))
    return mine != theirs and all(a >= b for a, b in zip(mine, theirs, strict=True))


@given(POINTS)
def test_the_front_is_what_nothing_beats_and_beats_or_equals_all_else(points):
    kept = front(points)
    assert kept
    assert not any(beats(other, one) for one in kept for other in points)
    rest = [point for point in points if point not in kept]
    assert all(any(not beats(point, one) and one.quality >= point.quality for one in kept) for point in rest)


@given(POINTS, POINTS)
def test_one_more_point_never_brings_a_beaten_one_back(points, more):
    gone = [point for point in points if any(beats(other, point) for other in points)]
    assert not [point for point in front([*points, *more]) if point in gone]


@given(POINTS)
def test_the_chosen_one_is_worth_it_and_nearly_the_best(points):
    base = at(0.5, 0.5, 0.5, "base")
    chosen = choose([base, *points], base, ALL)
    better = [point for point in points if point.quality > base.quality]
    if better:
        assert chosen.quality >= max(point.quality for point in better) - 0.02
    elif chosen is not None:
        assert chosen.quality == base.quality
        assert chosen.cost_usd < base.cost_usd or chosen.latency_s < base.latency_s


def test_of_equal_points_the_first_stays():
    assert [one.candidate.system for one in front([at(1, name="a"), at(1, name="b")])] == ["a"]


def test_an_unknown_price_is_neither_low_nor_high():
    known, unknown = at(0.9, 1.0), at(0.8, None)
    assert front([known, unknown]) == (known,)


def test_the_cheapest_of_the_nearly_best_is_chosen():
    base, best, near, far = at(0.5), at(0.9, 4.0), at(0.89, 2.0), at(0.8, 1.0)
    assert choose([base, best, near, far], base, ALL) is near


def test_limits_come_before_quality():
    base, best, within = at(0.5), at(0.9, 4.0), at(0.7, 2.0)
    settings = Optimize(limits={"usd_per_call": 3.0})
    assert choose([base, best, within], base, settings) is within
    assert choose([base, at(0.9, None)], base, settings) is None


@pytest.mark.parametrize(
    ("candidate", "objectives", "taken"),
    [
        (at(0.5, 0.5, name="x"), ("quality", "cost"), True),
        (at(0.5, 0.95, name="x"), ("quality", "cost"), False),
        (at(0.5, 0.5, name="x"), ("quality",), False),
        (at(0.5, 0.5, name="x"), ("quality", "latency"), False),
        (at(0.49, 0.1, name="x"), ("quality", "cost"), False),
        (at(0.51, 9.0, name="x"), ("quality", "cost"), True),
    ],
)
def test_quality_rises_or_holds_while_something_that_counts_falls(candidate, objectives, taken):
    base = at(0.5, 1.0, name="base")
    assert (choose([base, candidate], base, Optimize(objectives=objectives)) is candidate) == taken


def test_the_base_is_never_chosen():
    base = at(0.5)
    assert choose([base], base, ALL) is None
