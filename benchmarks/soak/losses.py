"""Workers killed at random moments, those of recoveries too, also before they did anything: no run may be lost.

`python -m benchmarks.soak.losses [RUNS] [AGAIN]`: the worker of each root run is killed once, the worker of each of its
recoveries with probability AGAIN, most of them while they begin.
"""

import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import httpx
from dagster import DagsterInstance

from benchmarks.machine import machine
from benchmarks.served import Served, served
from benchmarks.soak.chaos import lines, settled, wrong
from elexirion_dagster.execution import workers
from elexirion_dagster.operations.rehearsal_server import variables
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer
from elexirion_dagster.tags import RECOVERY_TAG

WORKS = """
name: works
model: anthropic/claude-sonnet-5-5
inputs: {mark: {type: string}}
steps:
  - {name: first, type: llm, prompt: "one {{ inputs.mark }}", max_tokens: 100}
  - {name: rests, type: command, needs: [first], run: [sleep, '1']}
  - {name: second, type: llm, needs: [rests], prompt: "two {{ inputs.mark }} {{ steps.first.text }}", max_tokens: 100}
"""
WORKS_S, BEGINS_S = 3.0, 1.0
"""About how long a run works, and how long it takes to begin."""
_LOOK_S = 0.02


class Killer(threading.Thread):
    """Kills each worker once, or not, at a moment that is drawn when it appears."""

    def __init__(self, up: Served, again: float) -> None:
        super().__init__(daemon=True)
        self._up, self._again = up, again
        self._dice = random.Random(5)  # noqa: S311 - moments, not secrets
        self._moments: dict[str, float] = {}
        self.killed: Counter[str] = Counter()
        self.done = threading.Event()

    def run(self) -> None:
        """Look for workers until it is over."""
        folder = self._up.home / "dagster" / workers.WORKERS
        with DagsterInstance.from_config(str(self._up.home / "dagster")) as instance:
            while not self.done.wait(_LOOK_S):
                for run in workers.warm(folder):
                    if run not in self._moments:
                        self._moments[run] = self._moment(instance, run)
                    if time.monotonic() >= self._moments[run]:
                        self._moments[run] = float("inf")
                        self._kill(folder, run)

    def _moment(self, instance: DagsterInstance, run: str) -> float:
        found = instance.get_run_by_id(run)
        first = found is not None and RECOVERY_TAG not in found.tags
        if not first and self._dice.random() >= self._again:
            return float("inf")
        kind = "first" if first else "recovery"
        self.killed[kind] += 1
        return time.monotonic() + self._dice.uniform(0, WORKS_S if first or self._dice.random() < 1 / 4 else BEGINS_S)

    def _kill(self, folder: Path, run: str) -> None:
        pid = workers.worker(folder, run)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.killed["hit"] += 1


def main(count: int, again: float) -> int:
    print(machine())
    script = Script.model_validate({"answers": [{"text": "fine"}]})
    with RehearsalServer(script) as server, served({"works": WORKS}, environ=variables(server.base_url)) as up:
        time.sleep(12)  # the sensors' first look
        killer = Killer(up, again)
        killer.start()
        roots: list[str] = []
        while len(roots) < count:
            with suppress(AssertionError, OSError, httpx.TransportError):
                roots.append(up.launch("works", mark=str(len(roots))))
        rows = settled(up, 120 + 10 * count)
        killer.done.set()
        killer.join()
        journal = lines(up)
    complaints = list(wrong(rows, journal, roots))
    lost = [
        root
        for root in roots
        if not any(
            row["status"] == "SUCCESS" and row["tags"].get("elexirion/root_run", run) == root
            for run, row in rows.items()
        )
    ]
    parked = [line for line in journal if line["kind"] == "recovery" and line["action"] == "park"]
    print(f"{count} root runs, {len(rows)} runs in all; killed {dict(killer.killed)}; lost {len(lost)} of {count}")
    print("\n".join([*complaints, *(line["reason"] for line in parked)]) or "nothing was doubled, paid twice or left")
    return 1 if lost or complaints else 0


if __name__ == "__main__":
    runs, share = [float(word) for word in sys.argv[1:]] + [500.0, 1 / 3][len(sys.argv) - 1 :]
    sys.exit(main(int(runs), share))
