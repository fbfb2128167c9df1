import time
from itertools import pairwise

import pytest

from elexirion_dagster.settings import Rate
from elexirion_dagster.store.accounts.ledger_file import LedgerFile
from elexirion_dagster.store.accounts.rates import LONGEST_S, TOKEN_BURST_S, Rates

FOREVER = float("inf")

PLACES = """
import sys
from pathlib import Path
from elexirion_dagster.settings import Rate
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.accounts.ledger_file import LedgerFile
from elexirion_dagster.store.accounts.rates import Rates
rates = Rates(LedgerFile(Home(Path(sys.argv[1]))), {"local": Rate(requests_per_s=10)})
for _ in range(50):
    print(rates.place(["local"], 0, latest=float("inf")))
"""


@pytest.fixture
def rates_of(home):
    files = []

    def rates_of(**rates):
        files.append(LedgerFile(home))
        return Rates(files[-1], rates)

    yield rates_of
    for file in files:
        file.close()


def test_calls_go_out_as_far_apart_as_the_rate_says(rates_of):
    rates = rates_of(local=Rate(requests_per_s=20))
    places = [rates.place(["local"], 0, latest=FOREVER) for _ in range(41)]
    assert places == sorted(places)
    assert places[-1] - places[0] == pytest.approx(2.0, abs=1e-3)
    assert places[0] <= time.time()


def test_five_processes_share_one_rate_and_no_place_is_given_twice(home, child):
    processes = [child(PLACES, home.path) for _ in range(5)]
    outputs = [process.communicate() for process in processes]
    assert [err for _, err in outputs] == [""] * 5
    places = sorted(float(line) for out, _ in outputs for line in out.splitlines())
    gaps = [later - earlier for earlier, later in pairwise(places)]
    assert len(places) == 250
    assert min(gaps) > 0.1 - 1e-3


def test_the_rate_outlives_the_process(rates_of):
    first, second = rates_of(local=Rate(requests_per_s=0.1)), rates_of(local=Rate(requests_per_s=0.1))
    at = first.place(["local"], 0, latest=FOREVER)
    assert second.place(["local"], 0, latest=FOREVER) == pytest.approx(at + 10, abs=1e-3)


def test_a_place_that_would_come_too_late_is_not_taken(rates_of):
    rates = rates_of(local=Rate(requests_per_s=0.1))
    first = rates.place(["local"], 0, latest=FOREVER)
    late = [rates.place(["local"], 0, latest=first + 5) for _ in range(3)]
    assert late == pytest.approx([first + 10] * 3, abs=1e-3)


def test_tokens_flow_in_and_what_was_not_used_flows_back(rates_of):
    rates = rates_of(local=Rate(tokens_per_s=100))
    first = rates.place(["local"], 100 * 30, latest=FOREVER)
    assert rates.place(["local"], 0, latest=first) == pytest.approx(first + 30 - TOKEN_BURST_S, abs=0.1)
    rates.give_back(["local"], 100 * 25)
    assert rates.place(["local"], 100, latest=FOREVER) <= time.time()


def test_the_tokens_of_calls_one_after_another_add_up(rates_of):
    rates = rates_of(local=Rate(tokens_per_s=100))
    places = [rates.place(["local"], 100 * 5, latest=FOREVER) for _ in range(5)]
    waits = [place - places[0] for place in places]
    assert waits == pytest.approx([0, 0, 0, 15 - TOKEN_BURST_S, 20 - TOKEN_BURST_S], abs=0.1)


def test_a_call_larger_than_a_minute_s_tokens_goes_out_and_the_next_one_waits_for_it(rates_of):
    rates = rates_of(local=Rate(tokens_per_s=1))
    first = rates.place(["local"], 300, latest=FOREVER)
    assert first <= time.time()
    assert rates.place(["local"], 1, latest=FOREVER) > first + 280


def test_a_model_heeds_its_own_rate_and_its_provider_s(rates_of):
    rates = rates_of(**{"local": Rate(requests_per_s=10), "local/big": Rate(requests_per_s=1)})
    first = rates.place(["local/big", "local"], 0, latest=FOREVER)
    assert rates.place(["local/small", "local"], 0, latest=FOREVER) == pytest.approx(first + 0.1, abs=0.05)
    assert rates.place(["local/big", "local"], 0, latest=FOREVER) == pytest.approx(first + 1, abs=0.05)


def test_what_has_no_rate_goes_at_once(rates_of):
    assert rates_of(local=Rate(slots=1)).place(["local"], 10**9, latest=FOREVER) <= time.time()


def test_a_clock_that_was_set_back_stops_nothing(rates_of, home):
    rates = rates_of(local=Rate(requests_per_s=1))
    file = LedgerFile(home)
    with file.transaction() as db:
        ahead = time.time() + 2 * LONGEST_S
        db.execute("INSERT INTO buckets VALUES ('local', ?, ?)", (ahead, ahead))
    file.close()
    assert rates.place(["local"], 0, latest=FOREVER) <= time.time()
