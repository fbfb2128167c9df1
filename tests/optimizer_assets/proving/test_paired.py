"""Whether the figures that decide are right."""

from itertools import product
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learned import a_row, a_try

from elexirion_dagster.errors import InputError
from optimizer_assets.proving.paired import Paired, bounds, flip_p, net_wins_needed, pair, sign_p

CHANGES = st.lists(st.integers(-50, 50).map(lambda number: number / 50), min_size=1, max_size=9)
SCORES = st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=1, max_size=30)


def paired(base, new, groups=None):
    rows = [a_row(f"{at}", group=str((groups or range(len(base)))[at])) for at in range(len(base))]
    before, after = ([a_try(row, score) for row, score in zip(rows, scores, strict=True)] for scores in (base, new))
    return pair(before, after[::-1], lambda tried: tried.score)


@given(CHANGES)
def test_flip_p_is_the_share_of_all_signs_that_do_as_well(changes):
    whole = [round(change * 50) for change in changes]
    sums = [
        sum(sign * size for sign, size in zip(signs, whole, strict=True))
        for signs in product((1, -1), repeat=len(whole))
    ]
    assert flip_p(changes) == pytest.approx(sum(total >= sum(whole) for total in sums) / len(sums))


@given(CHANGES, st.integers(0, 8))
def test_a_higher_change_never_raises_flip_p_of_the_others(changes, at):
    better = [
        min(change + 0.1, 1.0) if here == at % len(changes) and change >= 0 else change
        for here, change in enumerate(changes)
    ]
    assert flip_p([*better, 0.5]) <= flip_p(changes) + 1e-12 or any(change < 0 for change in changes)


@given(st.integers(0, 40), st.integers(0, 40))
def test_sign_p_is_the_binomial_tail(wins, losses):
    count = wins + losses
    assert sign_p(wins, losses) == pytest.approx(sum(comb(count, k) for k in range(wins, count + 1)) / 2**count)
    assert sign_p(wins + 1, losses) <= sign_p(wins, losses) + 1e-12 <= sign_p(wins, losses + 1) + 2e-12


@given(st.integers(0, 60), st.sampled_from([0.05, 0.02, 0.0025]))
def test_k_is_the_fewest_net_wins_that_chance_seldom_gives(changed, alpha):
    k = net_wins_needed(changed, alpha)
    enough = [wins - losses for wins in range(changed + 1) if sign_p(wins, losses := changed - wins) <= alpha]
    assert k == (min(enough) if enough else None)


def test_five_changed_rows_can_never_tell():
    assert net_wins_needed(5, 0.02) is None
    assert net_wins_needed(6, 0.02) == 6


@settings(max_examples=30, deadline=None)
@given(SCORES, st.integers(0, 2**64))
def test_bounds_are_seeded_hold_the_mean_and_widen_with_certainty(scores, seed):
    one = paired([0.25] * len(scores), scores)
    narrow, wide = bounds(one, 0.1, seed=seed), bounds(one, 0.01, seed=seed)
    assert narrow == bounds(one, 0.1, seed=seed)
    assert wide[0] <= narrow[0] <= narrow[1] <= wide[1]
    assert wide[0] - 1e-9 <= one.mean <= wide[1] + 1e-9


@settings(max_examples=20, deadline=None)
@given(SCORES)
def test_better_scores_never_lower_the_bounds(scores):
    base = [0.25] * len(scores)
    low, high = (bounds(paired(base, each), 0.05, seed=1) for each in (scores, [min(s + 0.25, 1.0) for s in scores]))
    assert low[0] <= high[0] + 1e-9


def test_rows_of_one_file_are_one_witness():
    apart = paired([0.0] * 40, [1.0] * 30 + [0.0] * 10)
    together = paired([0.0] * 40, [1.0] * 30 + [0.0] * 10, groups=[at // 10 for at in range(40)])
    assert (apart.units, together.units) == (40, 4)
    assert apart.mean == together.mean == 0.75
    assert flip_p(apart.changes) < 0.001 < flip_p(together.changes)


def test_a_loss_nobody_saw_yet_is_a_risk():
    same = paired([1.0] * 50, [1.0] * 50)
    assert bounds(same, 0.02, seed=1) == (0, 0)
    assert bounds(same.with_unseen_loss(), 0.02, seed=1)[0] < -0.05


def test_other_rows_cannot_be_compared():
    one, other = a_try(a_row("a"), 1.0), a_try(a_row("b"), 1.0)
    for base, new in (([one], [other]), ([one, one], [one, one]), ([], [])):
        with pytest.raises(InputError, match="both prompts on the same rows, each once"):
            pair(base, new, lambda tried: tried.score)


def test_the_interval_of_a_known_share_is_the_textbook_one():
    low, high = bounds(Paired((1.0,) * 30 + (0.0,) * 70, (1,) * 100), 0.025, seed=3)
    assert low == pytest.approx(0.21, abs=0.015)
    assert high == pytest.approx(0.39, abs=0.015)
