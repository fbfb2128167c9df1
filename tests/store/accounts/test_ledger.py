import os
import signal
import threading

import pytest

from elexirion_dagster.errors import PolicyError, StorageError
from elexirion_dagster.store.accounts.ledger import Ledger, Limit, Spend
from elexirion_dagster.store.home import open_home

RACE = """
import sys
from pathlib import Path
from elexirion_dagster.errors import PolicyError
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.accounts.ledger import Ledger, Limit
ledger, held = Ledger(Home(Path(sys.argv[1]))), 0
limits = [Limit("run:" + sys.argv[2], None, None), Limit("day:x", 1.0, 100_000)]
for turn in range(300):
    try:
        reservation = ledger.reserve(limits, usd=0.001, tokens=7)
    except PolicyError:
        continue
    if turn % 5 == 0:
        ledger.release(reservation)
    else:
        ledger.settle(reservation, usd=0.001, tokens=7)
        held += 1
print(held)
"""

HOLD = """
import sys, time
from pathlib import Path
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.accounts.ledger import Ledger, Limit
print(Ledger(Home(Path(sys.argv[1]))).reserve([Limit("run:r", 1.0, None)], usd=0.75, tokens=10), flush=True)
time.sleep(600)
"""


@pytest.fixture
def ledger(home):
    ledger = Ledger(home)
    yield ledger
    ledger.close()


def test_a_reservation_counts_until_it_is_settled_at_what_it_cost(ledger):
    held = ledger.reserve([Limit("run:r", 1.0, 1000)], usd=0.5, tokens=400)
    assert ledger.spent("run:r") == Spend(0.0, 0, 0.5, 400)
    ledger.settle(held, usd=0.125, tokens=90)
    assert ledger.spent("run:r") == Spend(0.125, 90, 0.0, 0)


def test_room_that_others_hold_comes_back_and_room_that_is_spent_does_not(ledger):
    limits = [Limit("run:r", 1.0, None)]
    held = ledger.reserve(limits, usd=0.75, tokens=1)
    assert (ledger.has_room(limits, usd=0.5, tokens=1), ledger.will_have_room(limits, usd=0.5, tokens=1)) == (
        False,
        True,
    )
    ledger.settle(held, usd=0.75, tokens=1)
    assert not ledger.will_have_room(limits, usd=0.5, tokens=1)
    assert not ledger.will_have_room(limits, usd=None, tokens=1)


def test_a_released_reservation_leaves_nothing(ledger):
    ledger.release(ledger.reserve([Limit("run:r", 1.0, None)], usd=0.5, tokens=400))
    assert ledger.spent("run:r") == Spend(0.0, 0, 0.0, 0)


def test_settling_or_releasing_again_changes_nothing(ledger):
    held = ledger.reserve([Limit("run:r", None, None)], usd=0.5, tokens=400)
    ledger.settle(held, usd=0.25, tokens=100)
    ledger.settle(held, usd=0.25, tokens=100)
    ledger.release(held)
    assert ledger.spent("run:r") == Spend(0.25, 100, 0.0, 0)


def test_an_unknown_cost_settles_at_the_bound(ledger):
    ledger.settle(ledger.reserve([Limit("run:r", 1.0, None)], usd=0.5, tokens=400), usd=None, tokens=100)
    assert ledger.spent("run:r") == Spend(0.5, 100, 0.0, 0)


def test_a_hostile_negative_usage_gives_no_budget_back(ledger):
    ledger.settle(ledger.reserve([Limit("run:r", 1.0, None)], usd=0.5, tokens=400), usd=-9.0, tokens=-9)
    assert ledger.spent("run:r") == Spend(0.0, 0, 0.0, 0)


def test_ten_times_a_tenth_fits_into_one_and_no_more(ledger):
    for _ in range(10):
        ledger.settle(ledger.reserve([Limit("run:r", 1.0, None)], usd=0.1, tokens=1), usd=0.1, tokens=1)
    with pytest.raises(PolicyError):
        ledger.reserve([Limit("run:r", 1.0, None)], usd=0.000001, tokens=1)


def test_a_refusal_names_limit_spent_reserved_and_asked_and_the_mend(ledger):
    limit = [Limit("run:r", 1.0, None)]
    ledger.settle(ledger.reserve(limit, usd=0.25, tokens=1), usd=0.25, tokens=1)
    ledger.reserve(limit, usd=0.5, tokens=1)
    with pytest.raises(PolicyError) as refused:
        ledger.reserve(limit, usd=0.375, tokens=1)
    assert refused.value.cause == "budget_exceeded"
    assert refused.value.message == (
        "this run and what continues it may spend $1: $0.25 are spent and $0.5 reserved, this call may need $0.375"
    )
    assert "`budget`" in refused.value.mend


def test_the_mend_for_a_day_names_its_variable(ledger):
    with pytest.raises(PolicyError) as refused:
        ledger.reserve([Limit("day:2026-11-22", None, 5)], usd=None, tokens=6)
    assert "today's runs may spend 5 tokens" in refused.value.message
    assert "ELEXIRION_BUDGET_USD_PER_DAY" in refused.value.mend


def test_an_unknown_price_is_refused_under_a_dollar_limit_and_allowed_without(ledger):
    with pytest.raises(PolicyError, match="price of this model is not known"):
        ledger.reserve([Limit("run:r", 1.0, None)], usd=None, tokens=1)
    ledger.reserve([Limit("run:r", None, 10)], usd=None, tokens=1)
    assert ledger.spent("run:r") == Spend(0.0, 0, 0.0, 1)


def test_a_refusal_by_one_limit_reserves_in_none(ledger):
    with pytest.raises(PolicyError):
        ledger.reserve([Limit("run:r", 1.0, None), Limit("day:d", 0.25, None)], usd=0.5, tokens=1)
    assert ledger.spent("run:r") == ledger.spent("day:d") == Spend(0.0, 0, 0.0, 0)


def test_two_limits_on_one_scope_count_once(ledger):
    ledger.reserve([Limit("run:r", 1.0, None), Limit("run:r", None, 100)], usd=0.5, tokens=60)
    assert ledger.spent("run:r") == Spend(0.0, 0, 0.5, 60)
    with pytest.raises(PolicyError, match="may spend 100 tokens"):
        ledger.reserve([Limit("run:r", 1.0, None), Limit("run:r", None, 100)], usd=0.5, tokens=60)


def test_eight_processes_racing_for_one_limit_never_pass_it(home, ledger, child):
    processes = [child(RACE, home.path, number) for number in range(8)]
    outputs = [process.communicate() for process in processes]
    assert [err for _, err in outputs] == [""] * 8
    held = [int(out) for out, _ in outputs]
    assert sum(held) == 1000  # 8 x 240 wish for a thousandth of a dollar, there is one
    assert ledger.spent("day:x") == Spend(1.0, 7000, 0.0, 0)
    assert [ledger.spent(f"run:{number}").tokens for number in range(8)] == [7 * count for count in held]


def test_threads_sharing_a_ledger_never_pass_the_limit(ledger):
    held = []

    def work():
        for _ in range(20):
            try:
                held.append(ledger.reserve([Limit("run:r", None, 100)], usd=None, tokens=1))
            except PolicyError:
                return

    threads = [threading.Thread(target=work) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(held)) == 100


def test_the_reservation_of_a_killed_process_is_spent_at_its_bound(home, ledger, child):
    process = child(HOLD, home.path)
    reservation = process.stdout.readline().strip()
    assert ledger.spent("run:r") == Spend(0.0, 0, 0.75, 10)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert ledger.spent("run:r") == Spend(0.75, 10, 0.0, 0)
    with pytest.raises(PolicyError, match=r"\$0.75 are spent and \$0 reserved"):
        ledger.reserve([Limit("run:r", 1.0, None)], usd=0.5, tokens=1)
    ledger.settle(reservation, usd=0.25, tokens=5)  # a recovery found out what it really was
    assert ledger.spent("run:r") == Spend(0.25, 5, 0.0, 0)


def test_what_was_spent_outlives_the_process(home):
    first = Ledger(home)
    first.settle(first.reserve([Limit("run:r", None, None)], usd=0.5, tokens=3), usd=0.5, tokens=3)
    first.close()
    second = Ledger(home)
    assert second.spent("run:r") == Spend(0.5, 3, 0.0, 0)
    second.close()


def test_the_files_are_private(home, ledger):
    ledger.reserve([Limit("run:r", None, None)], usd=None, tokens=1)
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in home.path.glob("ledger*")}
    assert modes == dict.fromkeys(("ledger.sqlite", "ledger.sqlite-shm", "ledger.sqlite-wal"), "0o600")


def test_a_damaged_file_is_told_with_a_mend(home):
    home.ledger_db.write_bytes(os.urandom(5000))
    with pytest.raises(StorageError) as refused:
        Ledger(home)
    assert "remove it" in refused.value.mend


def test_a_read_only_ledger_is_told(open_folder, read_only):
    home = open_home(open_folder / "home")
    Ledger(home).close()
    with read_only(home.path), pytest.raises(StorageError, match="Permission denied"):
        Ledger(home)
