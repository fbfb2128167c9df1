"""Whether luck can be bought by trying often."""

from hypothesis import given
from hypothesis import strategies as st

from elexirion_dagster.store.registry.attempts import Attempt
from optimizer_assets.proving.spending import EVEN_TRIES, FIRST, NEXT, TOTAL, allowance, share


def an_attempt(p_value=0.5, *, passed=False, holdout="h", n=100, alpha=0.0028):
    return Attempt("2026-01-01T00:00:00+00:00", "base", holdout, n, p_value, alpha, passed)


@given(st.integers(1, 300))
def test_all_tries_together_never_spend_more_than_five_percent(tries):
    assert sum(share(number) for number in range(1, tries + 1)) <= TOTAL + 1e-12
    assert 0 < share(tries + 1) <= share(tries)


def test_the_tenth_try_has_what_the_second_has():
    assert (share(1), share(2), share(EVEN_TRIES)) == (FIRST, NEXT, NEXT)


@given(st.lists(st.sampled_from(["failed", "passed", "untested"]), max_size=30))
def test_what_failed_tries_spent_stays_within_the_account_whatever_passed(results):
    earlier, lost = [], 0.0
    for result in results:
        alpha = allowance(earlier, holdout="h", n=100).alpha
        lost += alpha if result == "failed" else 0.0
        earlier.append(an_attempt(None if result == "untested" else 0.5, passed=result == "passed", alpha=alpha))
    assert lost <= TOTAL + 1e-12


def test_a_promoted_try_hands_on_what_it_had():
    assert allowance([an_attempt(0.001, passed=True, alpha=0.02)], holdout="h", n=100).alpha == NEXT + 0.02


def test_tries_without_a_test_cost_nothing():
    assert allowance([an_attempt(None)] * 5, holdout="h", n=100).number == 1


def test_a_few_new_rows_are_no_new_holdout_and_twice_as_many_are():
    earlier = [an_attempt(holdout="old")] * 3
    assert allowance(earlier, holdout="new", n=199).number == 4
    assert allowance(earlier, holdout="new", n=200).number == 1
    assert allowance(earlier, holdout="old", n=200).number == 4
    assert allowance(earlier, holdout="new", n=50).number == 4
