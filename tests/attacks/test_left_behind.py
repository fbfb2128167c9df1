"""However a command starts processes, and however it ends, none of them is left."""

import json
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from isolations import KINDS, choose

from elexirion_dagster.errors import Cancelled, ElexirionError
from elexirion_dagster.sandbox.policy import Sandbox
from elexirion_dagster.shell import run

pytestmark = pytest.mark.slow

DETACH = """
import os, signal, subprocess, sys, time
mark, ready, how = sys.argv[1:]

def sleeper(**options):
    code = "import signal, sys, time; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; " + (
        "open(sys.argv[2], 'a').close(); time.sleep(600)")
    return subprocess.Popen([sys.executable, "-c", code, mark, ready], **options)

if how == "session":
    sleeper(start_new_session=True)
elif how == "cleared":
    sleeper(start_new_session=True, env={}, stdin=-3, stdout=-3, stderr=-3, cwd="/")
elif how == "daemon":
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            sleeper(env={}, close_fds=True)
        os._exit(0)
    os.wait()
elif how == "nohup":
    code = "import sys, time; open(sys.argv[2], 'a').close(); time.sleep(600)"
    words = ["nohup", sys.executable, "-c", code, mark, ready]
    subprocess.Popen(words, start_new_session=True, stdin=-3, stdout=-3, stderr=-3)
while not os.path.exists(ready):
    time.sleep(0.01)
"""
WAYS = ("session", "cleared", "daemon", "nohup")


def left(mark):
    there = (one.info for one in psutil.process_iter(["cmdline", "status"]))
    return [info for info in there if mark in (info["cmdline"] or ()) and info["status"] != psutil.STATUS_ZOMBIE]


@pytest.fixture(params=["off", *KINDS])
def sandbox(request, monkeypatch, tmp_path):
    if request.param == "off":
        return Sandbox("off")
    choose(request.param, monkeypatch)
    return Sandbox("required", writable=(tmp_path,))


@pytest.fixture
def detach(tmp_path, sandbox):
    """Run the program that detaches a child and then goes on with `then`; the child's mark."""

    def go(how, then, **options):
        mark, ready = f"mark-{time.time_ns()}", tmp_path / f"ready-{time.time_ns()}"
        words = [sys.executable, "-c", DETACH + then, mark, str(ready), how]
        options = {"timeout_s": 60, **options}
        try:
            run(words, cwd=tmp_path, sandbox=sandbox, **options)
        finally:
            assert ready.exists()
            assert not left(mark)

    return go


@pytest.mark.parametrize("how", WAYS)
def test_nothing_is_left_after_success(detach, how):
    detach(how, "")


@pytest.mark.parametrize("how", WAYS)
def test_nothing_is_left_after_cancelling(detach, how, tmp_path):
    cancelled = threading.Event()

    def cancel_when_ready():
        while not list(tmp_path.glob("ready-*")):
            time.sleep(0.01)
        cancelled.set()

    thread = threading.Thread(target=cancel_when_ready)
    thread.start()
    with pytest.raises(Cancelled):
        detach(how, "time.sleep(600)", cancelled=cancelled)
    thread.join()


def test_nothing_is_left_after_a_timeout(detach):
    with pytest.raises(ElexirionError, match="stopped after"):
        detach("daemon", "signal.signal(15, signal.SIG_IGN); time.sleep(600)", timeout_s=5)


WORKER = """
import sys
from pathlib import Path
from elexirion_dagster.sandbox import isolation
from elexirion_dagster.sandbox.policy import Sandbox
from elexirion_dagster.shell import run
kind, folder, *words = sys.argv[1:]
if kind != "off":
    isolation.available = lambda: isolation.Isolation(kind, "", "bwrap")
sandbox = Sandbox("off" if kind == "off" else "required", writable=(Path(folder),))
run(words, cwd=Path(folder), timeout_s=600, sandbox=sandbox)
"""


@pytest.mark.parametrize("kind", ["off", *KINDS])
def test_nothing_is_left_when_the_worker_is_killed(kind, tmp_path, environ, monkeypatch):
    if kind != "off":
        choose(kind, monkeypatch)
    mark, ready = f"mark-{time.time_ns()}", tmp_path / "ready"
    words = [sys.executable, "-c", DETACH + "time.sleep(600)", mark, str(ready), "daemon"]
    with subprocess.Popen([sys.executable, "-c", WORKER, kind, str(tmp_path), *words], env=environ) as worker:
        while not ready.exists():
            time.sleep(0.01)
        assert left(mark)
        worker.kill()
    deadline = time.monotonic() + 60
    while left(mark) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not left(mark)


@pytest.mark.parametrize("mode", ["off", "auto"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_of_a_run_in_the_terminal(start_elexirion, tmp_path, mode, number):
    """A file that the program writes into its workspace shows that it is there."""
    mark = f"mark-{time.time_ns()}"
    script = json.dumps([sys.executable, "-c", f"{DETACH}time.sleep(600)", mark, "ready", "daemon"])
    (tmp_path / "p.yaml").write_text(
        f"name: p\nsteps: [{{name: c, type: command, run: {script}, sandbox: '{mode}'}}]\n"
    )
    running = start_elexirion("run", "p.yaml")
    while not left(mark) or not list(tmp_path.rglob("ready")):
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)
    running.send_signal(number)
    running.wait(60)
    deadline = time.monotonic() + 60
    while left(mark) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not left(mark)
