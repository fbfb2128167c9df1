import os
import subprocess
import sys
import time

import psutil
import pytest

from elexirion_dagster.errors import StorageError
from elexirion_dagster.execution import workers

RUN = "11111111-1111-1111-1111-111111111111"
CLAIMS = """
import os, pathlib, sys, time
from elexirion_dagster.execution import workers
assert workers.claim(pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3])
exec(sys.argv[4])
print("claimed", flush=True)
time.sleep(120)
"""


LOOKS = """
import pathlib, sys
from elexirion_dagster.execution import workers
print(workers.worker(pathlib.Path(sys.argv[1]), sys.argv[2]))
"""


@pytest.fixture
def started(tmp_path):
    """Start a process that has claimed a run."""
    processes = []

    def start(kind="warm", then="", run=RUN):
        process = subprocess.Popen(
            [sys.executable, "-c", CLAIMS, tmp_path, run, kind, then], stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout.readline() == "claimed\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_the_worker_of_a_run_is_the_process_that_claimed_it_for_as_long_as_it_lives(tmp_path, started):
    assert workers.worker(tmp_path, RUN) is None
    process = started()
    assert workers.worker(tmp_path, RUN) == process.pid
    process.kill()
    process.wait()
    assert workers.worker(tmp_path, RUN) is None
    assert workers.claimed(tmp_path, RUN) == "warm"


def test_a_run_is_claimed_once_also_after_its_worker_died(tmp_path, started):
    process = started()
    assert not workers.claim(tmp_path, RUN, "warm")
    assert workers.worker(tmp_path, RUN) == process.pid
    process.kill()
    process.wait()
    assert not workers.claim(tmp_path, RUN, "warm")
    with pytest.raises(StorageError, match="another process"), workers.working_on(tmp_path, RUN):
        pass


def test_looking_at_ones_own_run_keeps_it(tmp_path):
    with workers.working_on(tmp_path, RUN):
        assert workers.worker(tmp_path, RUN) == os.getpid()
        assert workers.claimed(tmp_path, RUN) == "terminal"
        assert subprocess.check_output([sys.executable, "-c", LOOKS, tmp_path, RUN], text=True) == f"{os.getpid()}\n"
    assert workers.claimed(tmp_path, RUN) is None


def test_a_run_left_to_something_else_has_no_worker_and_gets_none(tmp_path):
    assert workers.leave(tmp_path, RUN)
    assert workers.worker(tmp_path, RUN) is None
    assert workers.claimed(tmp_path, RUN) == "elsewhere"
    assert not workers.claim(tmp_path, RUN, "warm")


def test_a_run_that_has_a_worker_cannot_be_left_to_something_else(tmp_path, started):
    started()
    assert not workers.leave(tmp_path, RUN)
    assert workers.claimed(tmp_path, RUN) == "warm"


def test_those_that_hear_are_asked_and_those_that_do_not_are_killed_with_their_children(tmp_path, started, monkeypatch):
    monkeypatch.setattr(workers, "GRACE_S", 0.5)
    hears = started(run="hears", then="import signal; signal.signal(signal.SIGINT, lambda *_: sys.exit(7))")
    deaf = started(
        run="deaf",
        then="import signal, subprocess; signal.signal(signal.SIGINT, signal.SIG_IGN);"
        "subprocess.Popen(['sleep', '331'], start_new_session=True)",
    )
    (child,) = psutil.Process(deaf.pid).children()
    workers.end(tmp_path, ["hears", "deaf", "unknown"])
    assert hears.wait(10) == 7
    assert not psutil.pid_exists(deaf.pid)
    assert not child.is_running()


def test_only_runs_of_warm_workers_that_live_are_ended_with_the_house(tmp_path, started):
    started(run="one")
    started(run="two", kind="terminal")
    dead = started(run="three")
    dead.kill()
    dead.wait()
    workers.leave(tmp_path, "four")
    assert workers.warm(tmp_path) == ["one"]


def test_pruning_removes_what_is_old_and_not_at_work(tmp_path, started):
    started(run="works")
    for run in ("old", "new"):
        workers.leave(tmp_path, run)
        workers.log_file(tmp_path, run).write_text("123456")
    an_hour_ago = time.time() - 3600
    for run in ("works", "old"):
        os.utime(tmp_path / f"{run}.lock", (an_hour_ago, an_hour_ago))
    assert workers.prune(tmp_path, an_hour_ago + 60) == len("elsewhere") + 6
    assert sorted(file.name for file in tmp_path.iterdir()) == ["new.lock", "new.log", "works.lock"]


def test_the_last_lines_of_a_long_log_are_what_is_told(tmp_path):
    assert workers.last_lines(tmp_path, RUN) == ""
    workers.log_file(tmp_path, RUN).write_bytes(b"first\n" + b"\xff" * 40_000 + b"\nlast\n")
    told = workers.last_lines(tmp_path, RUN)
    assert told.endswith("last")
    assert len(told) <= 16_000
