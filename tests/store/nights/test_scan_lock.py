"""One scan of a repository at a time; its batches side by side."""

import threading

import pytest

from elexirion_dagster.errors import Cancelled, ElexirionError, InputError
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.nights.scan_lock import busy, refuse_if_busy, scanning


@pytest.fixture
def home(home_path):
    return open_home(home_path)


def test_batches_run_side_by_side_and_a_whole_scan_is_refused_meanwhile(home):
    with (
        scanning(home, "one", run="first", alone=False, wait_s=0),
        scanning(home, "one", run="second", alone=False, wait_s=0),
    ):
        assert "run second" in busy(home, "one")
        with pytest.raises(InputError, match="run second"):
            refuse_if_busy(home, "one")
        with (
            pytest.raises(ElexirionError, match="being scanned"),
            scanning(home, "one", run="third", alone=True, wait_s=0),
        ):
            pass
        assert busy(home, "other") is None
    assert busy(home, "one") is None


def test_a_batch_waits_for_a_whole_scan_and_stops_waiting_when_cancelled(home):
    told = threading.Event()
    told.set()
    with (
        scanning(home, "one", run="whole", alone=True, wait_s=0),
        pytest.raises(Cancelled),
        scanning(home, "one", run="batch", alone=False, wait_s=60, cancelled=told),
    ):
        pass
