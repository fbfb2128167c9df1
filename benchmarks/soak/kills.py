"""SIGKILL of zygote, worker, code server and daemon at random moments: every run ends once, in a status with a cause.

`python -m benchmarks.soak.kills [RUNS] [KILLS]`
"""

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import httpx
import psutil

from benchmarks.launches import ENDED
from benchmarks.machine import machine
from benchmarks.served import Served, served
from elexirion_dagster.execution import workers

PIPELINE = """
name: tells
inputs: {file: {type: path}}
limits: {max_recoveries: 0}
steps:
  - {name: first, type: command, run: [sh, -c, "echo first >> $0; sleep 3", "{{ inputs.file }}"]}
  - {name: second, type: command, needs: [first], run: [sh, -c, "echo second >> $0; sleep 3", "{{ inputs.file }}"]}
"""
VICTIMS = {
    "zygote": "elexirion_dagster.execution.zygote",
    "code server": "grpc",
    "daemon": "dagster-daemon",
    "worker": None,
}
"""What each has in its command line; a worker's is its zygote's."""


def kill(one: Served, victim: str, dice: random.Random) -> bool:
    """SIGKILL to one of a kind, if there is one."""
    folder = one.home / "dagster" / workers.WORKERS
    at_work = {pid for run in workers.warm(folder) if (pid := workers.worker(folder, run))}
    word = VICTIMS[victim]
    pids = sorted(at_work)
    if word is not None:
        pids = [
            process.pid
            for process in one.processes()
            if process.pid not in at_work and any(word in part for part in process.cmdline())
        ]
    if not pids:
        return False
    with suppress(ProcessLookupError):
        os.kill(dice.choice(pids), signal.SIGKILL)
    return True


def wrong(one: Served, run: str, status: str) -> Iterator[str]:
    """What should not have become of a run; recoveries are chaos's business, and off here."""
    file = one.folder / f"{run}.txt"
    done = file.read_text().split() if file.exists() else []
    if len(done) != len(set(done)):
        yield f"{run} did the same twice: {done}"
    if status not in ENDED:
        yield f"{run} hangs: {status}"
    if status == "SUCCESS" and done != ["first", "second"]:
        yield f"{run} succeeded without its work: {done}"
    lines = [json.loads(line) for path in (one.home / "journal" / run).glob("*.jsonl") for line in path.open()]
    ends = [line for line in lines if line["kind"] == "run_finished"]
    if len(ends) != 1 or (status != "SUCCESS" and not ends[0]["cause"]):
        yield f"{run} ({status}) has no one end with a cause: {ends}"


def main(count: int, kills: int) -> int:
    print(machine())
    dice = random.Random(11)  # noqa: S311 - moments, not secrets
    with served({"tells": PIPELINE}) as one:
        time.sleep(12)  # the sensors' first look, and what is killed before does not come back
        runs: dict[str, str] = {}
        killed: Counter[str] = Counter()
        moments = sorted(dice.uniform(0, count * 1.0) for _ in range(kills))
        begun = time.monotonic()
        while len(runs) < count or moments:
            if len(runs) < count:
                with suppress(
                    AssertionError, OSError, httpx.TransportError
                ):  # a launch that was refused is not lost: its caller knows
                    name = f"{len(runs)}-{dice.randrange(10**9)}"
                    run = one.launch("tells", file=str(one.folder / name))
                    (one.folder / f"{run}.txt").symlink_to(name)
                    runs[run] = name
            while moments and moments[0] < time.monotonic() - begun:
                moments.pop(0)
                victim = dice.choice(sorted(VICTIMS))
                killed[victim] += kill(one, victim, dice)
            time.sleep(0.5)
        found = one.until(list(runs), ENDED, 600)
        time.sleep(45)  # the sensors that journal the ends
        complaints = [text for run in runs for text in wrong(one, run, found[run]["status"])]
        statuses = Counter(found[run]["status"] for run in runs)
    print(f"{len(runs)} runs, killed {dict(killed)}: {dict(statuses)}")
    print("\n".join(complaints) or "every run ended once, in a status with a cause; none did anything twice")
    return 1 if complaints or psutil.pid_exists(one.process.pid) else 0


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*(given + [50, 25][len(given) :])))
