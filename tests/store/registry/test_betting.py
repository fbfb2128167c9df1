"""The test that looks again after every row: how often it errs, how often it sees. Seeds are fixed."""

import random

import pytest

from elexirion_dagster.store.registry.betting import differences, differences_from, evidence

ALPHA = 0.05
SEEDS = range(1000)


def dice(seed):
    return random.Random(seed)  # noqa: S311  a simulation


def drawn(rng, share, count):
    return [float(rng.random() < share) for _ in range(count)]


def share_of_rollbacks(old, new, seeds=SEEDS):
    """Over all prefixes of 200 rows after 200 before: `evidence` is the highest that any look ever saw."""
    hits = 0
    for seed in seeds:
        rng = dice(seed)
        found = differences_from(drawn(rng, old, 200), drawn(rng, new, 200))
        hits += evidence(-each for each in found) >= 1 / ALPHA
    return hits / len(seeds)


def trial(rng, old, new, count, share=0.1):
    rows = []
    for _ in range(count):
        is_new = rng.random() < share
        rows.append((is_new, float(rng.random() < (new if is_new else old))))
    return list(differences(rows))


@pytest.mark.parametrize("rate", [0.5, 0.9, 0.99])
def test_an_equal_version_is_rolled_back_in_at_most_alpha_of_the_cases_though_every_row_is_looked_at(rate):
    assert share_of_rollbacks(rate, rate) <= ALPHA


@pytest.mark.parametrize(("old", "new", "power"), [(0.95, 0.0, 1.0), (0.95, 0.7, 0.99), (0.95, 0.8, 0.9)])
def test_a_real_drop_is_seen_within_200_rows(old, new, power):
    assert share_of_rollbacks(old, new) >= power


def test_the_evidence_of_a_longer_look_is_never_less():
    gains = trial(dice(1), 0.9, 0.6, 500)
    looks = [evidence(-gain for gain in gains[:count]) for count in range(len(gains))]
    assert looks == sorted(looks)
    assert looks[0] == 1.0


def test_an_equal_canary_is_stopped_in_at_most_alpha_of_the_cases_and_a_bad_one_in_nearly_all():
    def stopped(new):
        found = [trial(dice(seed), 0.9, new, 1000) for seed in range(400)]
        return sum(evidence(-each for each in gains) >= 1 / ALPHA for gains in found) / len(found)

    assert stopped(0.9) <= ALPHA
    assert stopped(0.6) >= 0.99


def test_a_canary_that_is_worse_by_the_margin_passes_in_at_most_alpha_and_an_equal_one_in_nearly_all():
    def passed(new):
        found = [trial(dice(seed), 0.9, new, 3000) for seed in range(300)]
        return sum(evidence(each + 0.1 for each in gains) >= 1 / ALPHA for gains in found) / len(found)

    assert passed(0.8) <= ALPHA
    assert passed(0.9) >= 0.95


def test_a_canary_row_meets_the_mean_of_what_came_since_the_last_one():
    rows = [(False, 1.0), (False, 0.0), (True, 1.0), (True, 0.0), (True, 1.0), (False, 1.0), (False, 1.0)]
    assert list(differences(rows)) == [0.5, -0.5]


def test_each_old_row_is_used_once_and_a_watch_without_old_rows_says_nothing():
    assert list(differences_from([1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0])) == [-1.0, 0.0, -1.0]
    assert list(differences_from([], [0.0] * 50)) == []
    assert len(list(differences_from([1.0] * 1000, [1.0] * 900))) == 200
    assert list(differences_from([1.0, 0.0] * 200, [1.0])) == [0.5]
