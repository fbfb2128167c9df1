import threading
import time

import pytest

from elexirion_dagster.errors import Cancelled, PolicyError
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.settings import Rate
from elexirion_dagster.store.accounts.gates import COOL_S, FAILURES
from elexirion_dagster.store.accounts.ledger_file import LedgerFile
from elexirion_dagster.store.accounts.turns import NoTurn, Patience, Turns

MODEL = "anthropic/m"

WORK = """
import sys, threading, time
from pathlib import Path
from elexirion_dagster.settings import Rate
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.accounts.ledger_file import LedgerFile
from elexirion_dagster.store.accounts.turns import Patience, Turns
turns = Turns(LedgerFile(Home(Path(sys.argv[1]))), {"anthropic": Rate(slots=3)})
patience = Patience(30, False, None, threading.Event())
def work():
    for _ in range(5):
        with turns.turn("anthropic/m", 1, patience):
            began = time.time()
            time.sleep(0.01)
            sys.stdout.write(f"{began} {time.time()}\\n")
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


@pytest.fixture
def turns_of(home):
    files = []

    def turns_of(**rates):
        files.append(LedgerFile(home))
        return Turns(files[-1], rates)

    yield turns_of
    for file in files:
        file.close()


def patience(*, pause_s=30.0, alternative=False, left_s=None):
    deadline = None if left_s is None else time.monotonic() + left_s
    return Patience(pause_s, alternative, deadline, threading.Event())


def fail(turns, error, *, times=1):
    for _ in range(times):
        with pytest.raises(type(error)), turns.turn(MODEL, 1, patience()):
            raise error


def make_ill(turns):
    fail(turns, ProviderError("busy", cause="overloaded"), times=FAILURES)


def pass_time(home, seconds):
    file = LedgerFile(home)
    with file.transaction() as db:
        db.execute("UPDATE gates SET shut_since = shut_since - ?, shut_until = shut_until - ?", (seconds, seconds))
    file.close()


def test_threads_go_in_the_order_they_came(turns_of):
    turns, order, threads = turns_of(anthropic=Rate(requests_per_s=10)), [], []

    def work(number):
        with turns.turn(MODEL, 1, patience()):
            order.append(number)

    for number in range(10):
        threads.append(threading.Thread(target=work, args=(number,)))
        threads[-1].start()
        time.sleep(0.02)  # each is in line before the next one comes
    for thread in threads:
        thread.join()
    assert order == list(range(10))


def test_slots_hold_over_processes_and_all_of_them_get_their_turn(home, child):
    processes = [child(WORK, home.path) for _ in range(4)]
    outputs = [process.communicate() for process in processes]
    assert [err for _, err in outputs] == [""] * 4
    calls = [tuple(map(float, line.split())) for out, _ in outputs for line in out.splitlines()]
    assert len(calls) == 4 * 4 * 5
    assert max(sum(began <= moment < ended for began, ended in calls) for moment, _ in calls) <= 3


def test_a_call_that_ends_badly_gives_its_slot_back(turns_of):
    turns = turns_of(anthropic=Rate(slots=1))
    fail(turns, PolicyError("no", cause="budget_exceeded"), times=2)
    with turns.turn(MODEL, 1, patience(left_s=5)) as turn:
        assert turn.sent


def test_a_call_whose_turn_cannot_come_in_time_fails_before_it_waits(turns_of):
    turns = turns_of(anthropic=Rate(requests_per_s=0.001))
    with turns.turn(MODEL, 1, patience()):
        pass
    with (
        pytest.raises(NoTurn, match=r"did not come .* \(it would in \d+\.\d s\)") as late,
        turns.turn(MODEL, 1, patience(left_s=60)),
    ):
        pass
    assert late.value.cause == "timeout"
    assert "ELEXIRION_RATES" in late.value.mend


def test_calls_that_were_not_sent_say_nothing_about_the_model(turns_of):
    turns = turns_of(anthropic=Rate(requests_per_s=0.001))
    with turns.turn(MODEL, 1, patience()):
        pass
    for _ in range(2 * FAILURES):
        with pytest.raises(NoTurn, match="did not come"), turns.turn(MODEL, 1, patience(left_s=60)):
            pass


@pytest.mark.parametrize("rate", [Rate(slots=1), Rate(requests_per_s=0.001)])
def test_those_behind_a_waiting_one_heed_their_own_deadline(turns_of, rate):
    turns, ends = turns_of(anthropic=rate), []

    def work(left_s):
        with pytest.raises((NoTurn, Cancelled)) as ended, turns.turn(MODEL, 1, waits(left_s)):
            pass
        ends.append(ended.value.cause)

    cancelled = threading.Event()

    def waits(left_s):
        return Patience(30, alternative=False, deadline=left_s and time.monotonic() + left_s, cancelled=cancelled)

    with turns.turn(MODEL, 1, patience()):
        threads = [threading.Thread(target=work, args=(left_s,)) for left_s in (None, 0.2, 0.2)]
        for thread in threads:
            thread.start()
        for thread in threads[1:]:
            thread.join()
        assert ends == ["timeout"] * 2
        cancelled.set()
        threads[0].join()
    assert ends[2:] == ["cancelled"]


def test_cancelling_ends_every_wait_at_once(turns_of):
    turns, cancelled, ends = turns_of(anthropic=Rate(requests_per_s=0.001)), threading.Event(), []

    def work():
        with pytest.raises(Cancelled), turns.turn(MODEL, 1, Patience(30, False, None, cancelled)):  # noqa: FBT003
            pass
        ends.append(True)

    with turns.turn(MODEL, 1, patience()):
        pass
    threads = [threading.Thread(target=work) for _ in range(50)]
    for thread in threads:
        thread.start()
    cancelled.set()
    for thread in threads:
        thread.join()
    assert len(ends) == 50


def test_an_ill_model_is_not_waited_for_where_there_is_another(turns_of):
    turns = turns_of()
    make_ill(turns)
    with pytest.raises(NoTurn, match="failed 5 times") as refused, turns.turn(MODEL, 1, patience(alternative=True)):
        pass
    assert refused.value.cause == "overloaded"


def test_an_ill_model_is_not_waited_for_longer_than_one_would(turns_of):
    turns = turns_of()
    make_ill(turns)
    with pytest.raises(NoTurn), turns.turn(MODEL, 1, patience(pause_s=COOL_S / 2)):
        pass


def test_an_ill_model_is_waited_for_within_patience_and_one_call_finds_out(home, turns_of):
    turns, sent = turns_of(), []
    make_ill(turns)
    pass_time(home, COOL_S - 0.3)

    def work():
        with turns.turn(MODEL, 1, patience()) as turn:
            sent.append(turn.probe)
            time.sleep(0.05)

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sent == [True, False, False, False, False]


def test_a_server_s_wish_is_waited_for_though_there_is_another_model(turns_of):
    turns = turns_of()
    fail(turns, ProviderError("later", cause="rate_limited", retry_after_s=0.3))
    told = time.time()
    with turns.turn(MODEL, 1, patience(alternative=True)):
        assert time.time() - told >= 0.25


def test_a_wish_longer_than_one_would_wait_is_told_with_the_time(turns_of):
    turns = turns_of()
    fail(turns, ProviderError("later", cause="rate_limited", retry_after_s=600))
    with (
        pytest.raises(NoTurn, match=r"asked for no calls before \d\d:\d\d:\d\d UTC") as refused,
        turns.turn(MODEL, 1, patience()),
    ):
        pass
    assert refused.value.cause == "rate_limited"


def test_tokens_that_were_not_used_flow_back(turns_of):
    turns = turns_of(anthropic=Rate(tokens_per_s=10))
    for _ in range(5):
        with turns.turn(MODEL, 1000, patience(left_s=5)) as turn:
            turn.used_tokens = 10


def test_a_healthy_model_without_limits_leaves_the_ledger_as_it_is(home, turns_of):
    turns = turns_of()
    before = home.ledger_db.stat().st_size, (home.path / "ledger.sqlite-wal").stat().st_size
    for _ in range(100):
        with turns.turn(MODEL, 1000, patience()):
            pass
    assert (home.ledger_db.stat().st_size, (home.path / "ledger.sqlite-wal").stat().st_size) == before
