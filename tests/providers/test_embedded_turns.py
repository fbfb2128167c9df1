import threading
import time

import pytest

from elexirion_dagster.errors import Cancelled
from elexirion_dagster.providers.base import ProviderError
from elexirion_dagster.providers.embedded_turns import Limit, Turns


def queued(turns, count):
    while len(turns._queue) < count:  # noqa: SLF001  no public name tells who waits
        time.sleep(0.001)


def hold(turns, release, limit=None):
    taken = threading.Event()

    def work():
        with turns.turn(limit or Limit(60, None)):
            taken.set()
            release.wait()

    threading.Thread(target=work, daemon=True).start()
    taken.wait()


def test_turns_are_taken_in_the_order_of_arrival():
    turns, release, order, threads = Turns(), threading.Event(), [], []
    hold(turns, release)

    def work(number):
        with turns.turn(Limit(60, None)):
            order.append(number)

    for number in range(32):
        threads.append(threading.Thread(target=work, args=(number,)))
        threads[-1].start()
        queued(turns, number + 2)
    release.set()
    for thread in threads:
        thread.join()
    assert order == list(range(32))


def test_only_one_thread_has_its_turn():
    turns, inside, most = Turns(), [0], []

    def work():
        for _ in range(50):
            with turns.turn(Limit(60, None)):
                inside[0] += 1
                most.append(inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (max(most), len(most)) == (1, 400)


def test_a_deadline_passes_while_waiting_and_the_queue_goes_on():
    turns, release = Turns(), threading.Event()
    hold(turns, release)
    with pytest.raises(ProviderError, match="waiting for its turn") as caught, turns.turn(Limit(0.05, None)):
        pass
    release.set()
    with turns.turn(Limit(60, None)):
        assert (caught.value.cause, caught.value.billed) == ("timeout", False)


def test_cancelling_ends_the_wait():
    turns, release, stop = Turns(), threading.Event(), threading.Event()
    hold(turns, release)
    threading.Timer(0.05, stop.set).start()
    with pytest.raises(Cancelled), turns.turn(Limit(60, stop)):
        pass
    release.set()


def test_a_turn_that_ends_in_an_error_is_given_on():
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns.turn(Limit(60, None)):
        _ = 1 / 0
    with turns.turn(Limit(60, None)):
        pass
