"""Detached children of commands: however the command, its run or the whole house ends, none of them is left.

`python -m benchmarks.soak.left_behind [COMMANDS]`: so many commands (400), each of which starts a child that has a
session of its own, no environment and a deaf ear for signals. They end by success, timeout, cancelling and SIGKILL of
their worker, with a sandbox and without; then runs of `elexirion up` end by `terminateRun`, by SIGKILL of the worker
and by SIGTERM of `up`, and runs in the terminal by SIGTERM and SIGKILL. Ends with 1 when anything is left.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil

from benchmarks.machine import machine
from benchmarks.served import REPOSITORY, served
from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.execution import workers
from elexirion_dagster.sandbox.policy import Mode, Sandbox
from elexirion_dagster.shell import run

DETACH = """
import os, signal, subprocess, sys, time
mark, how, then = sys.argv[1:]
deaf = "import signal, sys, time; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; "
code = deaf + "open(sys.argv[2], 'a').close(); time.sleep(900)"
words = [sys.executable, "-c", code, mark, os.path.abspath(mark)]
if how == "daemon":
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execve(words[0], words, {})
        os._exit(0)
    os.wait()
elif how == "nohup":
    subprocess.Popen(["nohup", *words], start_new_session=True, stdin=-3, stdout=-3, stderr=-3)
else:
    subprocess.Popen(words, start_new_session=True, env={}, cwd="/", stdin=-3, stdout=-3, stderr=-3)
while not os.path.exists(mark):
    time.sleep(0.01)
if then == "stay":
    signal.signal(15, signal.SIG_IGN)
    time.sleep(900)
"""
WORKER = """
import sys
from pathlib import Path
from elexirion_dagster.sandbox.policy import Sandbox
from elexirion_dagster.shell import run
mode, folder, *words = sys.argv[1:]
run(words, cwd=Path(folder), timeout_s=900, sandbox=Sandbox(mode, writable=(Path(folder),)))
"""
WAYS = ("daemon", "nohup", "session")
MODES: tuple[Mode, ...] = ("auto", "off")
_GONE_S = 30.0
_AT_ONCE = 4


def survivors(marks: set[str]) -> int:
    """How many of these children are alive; what is just dying gets a moment."""
    deadline = time.monotonic() + _GONE_S
    while True:
        alive = 0
        for one in psutil.process_iter(["cmdline", "status"]):
            mine = marks.intersection(one.info["cmdline"] or ())
            alive += bool(mine) and one.info["status"] != psutil.STATUS_ZOMBIE
        if not alive or time.monotonic() > deadline:
            return alive
        time.sleep(0.2)


def wait_for(file: Path) -> None:
    while not file.exists():
        time.sleep(0.01)


def words(mark: str, how: str, then: str) -> list[str]:
    return [sys.executable, "-c", DETACH, mark, how, then]


def success(folder: Path, mark: str, how: str, mode: Mode) -> None:
    run(words(mark, how, "end"), cwd=folder, timeout_s=300, sandbox=Sandbox(mode, writable=(folder,)))


def timeout(folder: Path, mark: str, how: str, mode: Mode) -> None:
    with suppress(ElexirionError):
        run(words(mark, how, "stay"), cwd=folder, timeout_s=6, sandbox=Sandbox(mode, writable=(folder,)))


def cancel(folder: Path, mark: str, how: str, mode: Mode) -> None:
    cancelled = threading.Event()
    threading.Thread(target=lambda: (wait_for(folder / mark), cancelled.set()), daemon=True).start()
    sandbox = Sandbox(mode, writable=(folder,))
    with suppress(ElexirionError):
        run(words(mark, how, "stay"), cwd=folder, timeout_s=300, sandbox=sandbox, cancelled=cancelled)


def worker_death(folder: Path, mark: str, how: str, mode: Mode) -> None:
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", WORKER, mode, str(folder), *words(mark, how, "stay")]
    with subprocess.Popen(command, env=environ) as worker:
        wait_for(folder / mark)
        worker.kill()


ENDS: tuple[Callable[[Path, str, str, Mode], None], ...] = (success, timeout, cancel, worker_death)


def commands(count: int, folder: Path) -> int:
    """End so many commands in every way; how many children were left."""

    def one(number: int) -> tuple[str, str]:
        ends, mode = ENDS[number % len(ENDS)], MODES[number // len(ENDS) % len(MODES)]
        mark = f"mark-{os.getpid()}-{number}"
        ends(folder, mark, WAYS[number % len(WAYS)], mode)
        return mark, f"{ends.__name__}, sandbox {mode}"

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        ended = dict(pool.map(one, range(count)))
    started = Counter(kind for mark, kind in ended.items() if (folder / mark).exists())
    for kind in sorted(set(ended.values())):
        left = survivors({mark for mark, what in ended.items() if what == kind})
        print(f"{kind}: {started[kind]} commands, {left} left", flush=True)
    return survivors(set(ended))


def pipeline(name: str, mark: str, mode: Mode) -> str:
    step = {"name": "c", "type": "command", "run": words(mark, "daemon", "stay"), "sandbox": mode}
    return f"name: {name}\nsteps: {json.dumps([step])}\n"


def houses() -> int:
    """End runs of `elexirion up`, and `up` itself."""
    marks = {f"up-{mode}-{what}": mode for mode in MODES for what in ("terminated", "killed", "up")}
    texts = {mark.replace("-", "_"): pipeline(mark.replace("-", "_"), mark, mode) for mark, mode in marks.items()}
    with served(texts) as one:
        runs = {mark: one.launch(mark.replace("-", "_")) for mark in marks}
        for mark in marks:
            while not list(one.home.rglob(mark)):
                time.sleep(0.2)
        for mark, run_id in runs.items():
            if mark.endswith("terminated"):
                one.ask("mutation($id: String!) { terminateRun(runId: $id) { __typename } }", id=run_id)
            elif mark.endswith("killed"):
                os.kill(workers.worker(one.home / "dagster" / workers.WORKERS, run_id) or 0, signal.SIGKILL)
        gone = {mark for mark in marks if not mark.endswith("up")}
        left = survivors(gone)
        print(f"terminateRun and SIGKILL of the worker: {len(gone)} runs, {left} left", flush=True)
        one.process.send_signal(signal.SIGTERM)
        one.process.wait(120)
    after = survivors(set(marks))
    print(f"SIGTERM of up: {len(marks) - len(gone)} runs, {after} left", flush=True)
    return left + after


def terminals(folder: Path) -> int:
    """End runs in the terminal."""
    left = 0
    for mode in MODES:
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
            mark = f"terminal-{mode}-{number.name}"
            (folder / "t.yaml").write_text(pipeline("t", mark, mode), encoding="utf-8")
            environ = {**os.environ, "ELEXIRION_HOME": str(folder / "home"), "PYTHONPATH": str(REPOSITORY)}
            command = [sys.executable, "-m", "elexirion_dagster.cli.main", "run", "t.yaml"]
            with subprocess.Popen(command, cwd=folder, env=environ, stderr=subprocess.DEVNULL) as running:
                while not list((folder / "home").rglob(mark)):
                    time.sleep(0.1)
                running.send_signal(number)
            found = survivors({mark})
            print(f"{number.name} of `elexirion run`, sandbox {mode}: {found} left", flush=True)
            left += found
    return left


def main(count: int) -> int:
    print(machine())
    with tempfile.TemporaryDirectory(prefix="left-", ignore_cleanup_errors=True) as name:
        left = commands(count, Path(name)) + houses() + terminals(Path(name))
    print(f"{left} left in all")
    return min(left, 1)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 400))
