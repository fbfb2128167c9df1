import os
import signal
import sys
import threading
import time

import psutil
import pytest

from elexirion_dagster.execution.processes import Group

WAITS = [sys.executable, "-c", "import threading; threading.Event().wait()"]


def started():
    """The programs that a group of this test has started; others may have left theirs."""
    return [
        one for one in psutil.Process().children() if one.status() != psutil.STATUS_ZOMBIE and one.cmdline() == WAITS
    ]


def test_the_first_program_that_ends_is_named_with_its_code_and_the_others_are_ended(tmp_path):
    with Group(os.environ, cwd=tmp_path) as group:
        group.start("waits", WAITS)
        group.start("fails", [sys.executable, "-c", "raise SystemExit(7)"])
        assert group.wait() == ("fails", 7)
        children = started()
    assert not any(child.is_running() for child in children)


def test_what_a_program_left_in_its_group_is_ended_with_it(tmp_path):
    with Group(os.environ, cwd=tmp_path) as group:
        group.start("starts", [sys.executable, "-c", "import subprocess; subprocess.Popen(['sleep', '313'])"])
        assert group.wait() == ("starts", 0)
    deadline = time.monotonic() + 10
    while alive("313") and time.monotonic() < deadline:  # killed, and perhaps not gone yet
        time.sleep(0.05)
    assert not alive("313")


def alive(seconds):
    """The processes that sleep for so many seconds."""
    processes = psutil.process_iter(["cmdline", "status"])
    return [
        process
        for process in processes
        if process.info["cmdline"] == ["sleep", seconds] and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def test_sigterm_is_a_wish_to_stop_and_the_handler_of_before_comes_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
    group = Group(os.environ, cwd=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        until_ended(group, timer)
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_a_script_started_in_the_background_ends_its_programs_though_they_ignore_ctrl_c(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Group(os.environ, cwd=tmp_path) as group:
            group.start("asked", ["sh", "-c", "trap 'touch asked; exit' TERM; touch ready; while :; do sleep .1; done"])
            group.wait((tmp_path / "ready").exists)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "asked").exists(), "it was asked to end, not killed"


def until_ended(group, timer):
    with group:
        group.start("waits", WAITS)
        timer.start()
        group.wait()


def test_a_program_can_be_started_anew_and_a_wait_be_ended(tmp_path):
    with Group(os.environ, cwd=tmp_path) as group:
        group.start("waits", WAITS)
        (first,) = started()
        group.again("waits")
        (second,) = started()
        assert first.pid != second.pid
        assert not group.is_busy("waits")
        assert group.wait(lambda: True) is None
