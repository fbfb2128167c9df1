import signal
import time

import pytest

from elexirion_dagster.errors import CAUSES
from elexirion_dagster.store.accounts.gates import BELIEF_S, COOL_S, FAILURES, FORGET_S, Gates, Shut
from elexirion_dagster.store.accounts.ledger_file import LedgerFile

MODEL = "anthropic/m"

PROBE = """
import sys, time
from pathlib import Path
from elexirion_dagster.store.accounts.gates import Gates
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.accounts.ledger_file import LedgerFile
print(Gates(LedgerFile(Home(Path(sys.argv[1])))).enter("anthropic/m"), flush=True)
time.sleep(600)
"""


@pytest.fixture
def file(home):
    file = LedgerFile(home)
    yield file
    file.close()


@pytest.fixture
def gates(file):
    return Gates(file)


def tell(gates, cause, *, times=1, retry_after_s=None, probe=False):
    for _ in range(times):
        gates.tell(MODEL, cause, retry_after_s=retry_after_s, probe=probe)


def pass_time(file, seconds):
    """Everything that is written lies so much further back."""
    with file.transaction() as db:
        db.execute("UPDATE gates SET shut_since = shut_since - ?, shut_until = shut_until - ?", (seconds, seconds))


@pytest.mark.parametrize("cause", ["overloaded", "timeout", "connection"])
def test_failures_in_a_row_that_mean_illness_shut_the_gate(gates, cause):
    tell(gates, cause, times=FAILURES - 1)
    assert gates.is_free(MODEL)
    tell(gates, cause)
    shut = gates.enter(MODEL)
    assert (shut.cause, shut.ill, shut.probing) == (cause, True, False)
    assert 0 < shut.until - time.time() <= COOL_S
    assert gates.is_free("anthropic/other")


@pytest.mark.parametrize("cause", sorted({*CAUSES} - {"overloaded", "timeout", "connection"}))
def test_no_other_cause_shuts_it(gates, cause):
    tell(gates, cause, times=3 * FAILURES)
    assert gates.is_free(MODEL)


@pytest.mark.parametrize("sign", [None, "bad_input", "auth", "rate_limited", "refused"])
def test_any_answer_between_failures_is_a_sign_of_life(gates, sign):
    tell(gates, "overloaded", times=FAILURES - 1)
    tell(gates, sign)
    tell(gates, "overloaded", times=FAILURES - 1)
    assert gates.is_free(MODEL)


def test_what_lies_on_our_side_says_nothing(gates):
    tell(gates, "overloaded", times=FAILURES - 1)
    tell(gates, "cancelled")
    tell(gates, "budget_exceeded")
    tell(gates, "overloaded")
    assert not gates.is_free(MODEL)


def test_after_the_pause_one_probe_goes_and_the_others_wait_for_it(gates, file):
    tell(gates, "timeout", times=FAILURES)
    pass_time(file, COOL_S)
    assert gates.enter(MODEL) is True
    waiting = gates.enter(MODEL)
    assert isinstance(waiting, Shut)
    assert waiting.probing


def test_a_probe_that_is_answered_opens_the_gate(gates, file):
    tell(gates, "timeout", times=FAILURES)
    pass_time(file, COOL_S)
    gates.enter(MODEL)
    tell(gates, None, probe=True)
    assert gates.enter(MODEL) is False


def test_a_probe_that_fails_shuts_it_again_and_the_illness_is_as_old_as_before(gates, file):
    tell(gates, "timeout", times=FAILURES)
    pass_time(file, COOL_S)
    gates.enter(MODEL)
    tell(gates, "connection", probe=True)
    shut = gates.enter(MODEL)
    assert shut.cause == "connection"
    assert shut.until - shut.since > COOL_S


def test_a_probe_that_was_never_sent_leaves_the_chance_to_the_next(gates, file):
    tell(gates, "timeout", times=FAILURES)
    pass_time(file, COOL_S)
    gates.enter(MODEL)
    tell(gates, "cancelled", probe=True)
    assert gates.enter(MODEL) is True


def test_a_probe_of_a_killed_process_is_nobody_s(gates, file, home, child):
    tell(gates, "timeout", times=FAILURES)
    pass_time(file, COOL_S)
    process = child(PROBE, home.path)
    assert process.stdout.readline() == "True\n"
    assert gates.enter(MODEL).probing
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert gates.enter(MODEL) is True


def test_a_server_s_wish_shuts_the_gate_for_every_process_and_then_all_may_go(gates, file, home):
    tell(gates, "rate_limited", retry_after_s=40)
    other = LedgerFile(home)
    shut = Gates(other).enter(MODEL)
    other.close()
    assert (shut.cause, shut.ill) == ("rate_limited", False)
    assert shut.until - shut.since == pytest.approx(40, abs=0.1)
    pass_time(file, 40)
    assert gates.enter(MODEL) is gates.enter(MODEL) is False


@pytest.mark.parametrize("cause", ["rate_limited", "overloaded"])
def test_a_reply_on_its_way_does_not_undo_a_server_s_wish(gates, cause):
    tell(gates, cause, retry_after_s=40)
    tell(gates, None)
    assert not gates.is_free(MODEL)


def test_a_mad_wish_is_kept_for_an_hour_at_most(gates):
    tell(gates, "rate_limited", retry_after_s=1e12)
    assert gates.enter(MODEL).until - time.time() <= 3600


def test_an_old_illness_is_forgotten(gates, file):
    tell(gates, "timeout", times=FAILURES)
    pass_time(file, COOL_S + FORGET_S)
    assert gates.enter(MODEL) is False
    tell(gates, "timeout")
    assert gates.is_free(MODEL)


def test_a_model_that_was_well_a_moment_ago_is_looked_at_again_soon_and_then_is_ill_for_every_process(gates, home):
    assert gates.is_free(MODEL)
    other = LedgerFile(home)
    tell(Gates(other), "overloaded", times=FAILURES)
    other.close()
    end = time.monotonic() + 100 * BELIEF_S
    while gates.is_free(MODEL) and time.monotonic() < end:
        time.sleep(BELIEF_S)
    assert not gates.is_free(MODEL)
