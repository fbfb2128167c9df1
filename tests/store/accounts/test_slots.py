import signal

import pytest

from elexirion_dagster.store.accounts.ledger_file import LedgerFile
from elexirion_dagster.store.accounts.slots import Slots

HOLD = """
import sys, time
from pathlib import Path
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.accounts.ledger_file import LedgerFile
from elexirion_dagster.store.accounts.slots import Slots
print(Slots(LedgerFile(Home(Path(sys.argv[1])))).line_up("local"), flush=True)
time.sleep(600)
"""


@pytest.fixture
def slots(home):
    file = LedgerFile(home)
    yield Slots(file)
    file.close()


def test_the_first_in_line_have_the_slots_and_the_next_moves_up(slots):
    places = [slots.line_up("local") for _ in range(3)]
    assert [slots.is_in("local", place, 2) for place in places] == [True, True, False]
    slots.leave([places[0]])
    assert slots.is_in("local", places[2], 2)


def test_nobody_is_overtaken(slots):
    first, second, third = (slots.line_up("local") for _ in range(3))
    slots.leave([first])
    assert [slots.is_in("local", place, 1) for place in (third, second)] == [False, True]


def test_each_name_has_its_own_line(slots):
    assert [slots.is_in(name, slots.line_up(name), 1) for name in ("local", "anthropic")] == [True, True]


def test_a_living_process_keeps_its_slot_and_a_killed_one_loses_it(home, slots, child):
    process = child(HOLD, home.path)
    process.stdout.readline()
    mine = slots.line_up("local")
    assert not slots.is_in("local", mine, 1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert slots.is_in("local", mine, 1)
