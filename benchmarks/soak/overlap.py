"""Many pipelines truly at once: each asks a model that takes minutes to answer.

`python -m benchmarks.soak.overlap [PIPELINES] [SECONDS]`: first to last start, how many overlapped, how they ended,
memory of the house and of each waiting run that no other process shares.
"""

import statistics
import sys
import time
from contextlib import suppress

import psutil

from benchmarks.launches import ENDED
from benchmarks.machine import machine
from benchmarks.served import Served, served
from elexirion_dagster.execution import workers
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer

PIPELINE = """
name: {name}
model: anthropic/claude-sonnet-5-5
budget: {{usd: 5}}
steps:
  - {{name: asks, type: llm, prompt: a long question, max_tokens: 100, timeout_s: {timeout}}}
"""


def waiting_mb(one: Served) -> list[float]:
    """The unique memory of each run's process."""
    folder = one.home / "dagster" / workers.WORKERS
    found = []
    for run in workers.warm(folder):
        with suppress(psutil.Error):
            pid = workers.worker(folder, run)
            if pid is not None:
                found.append(psutil.Process(pid).memory_full_info().uss / 1e6)
    return found


def main(count: int, seconds: int) -> int:
    print(machine())
    names = [f"p{number}" for number in range(count)]
    with RehearsalServer(Script(latency_ms=seconds * 1000)) as server:
        environ = {"ANTHROPIC_API_KEY": "rehearsal", "ANTHROPIC_BASE_URL": server.base_url}
        texts = {name: PIPELINE.format(name=name, timeout=seconds + 120) for name in names}
        with served(texts, environ=environ) as one:
            begun = time.monotonic()
            runs = [one.launch(name) for name in names]
            print(f"asked for {count} runs in {time.monotonic() - begun:.1f} s", flush=True)
            one.until(runs, ("STARTED", *ENDED), 600)
            each, whole = waiting_mb(one), one.pss_mb()
            found = one.until(runs, ENDED, seconds + 900)
    starts, ends = [row["startTime"] for row in found.values()], [row["endTime"] for row in found.values()]
    overlap = sum(start < min(ends) for start in starts)
    statuses = {status: sum(row["status"] == status for row in found.values()) for status in ENDED}
    print(f"first to last start {max(starts) - min(starts):.1f} s, {overlap} of {count} overlapped, {statuses}")
    print(f"{len(each)} waiting runs: {statistics.median(each):.0f} MB unique each (median), {sum(each):.0f} MB in all")
    print(f"the whole house: {whole:.0f} MB (PSS)")
    return 0 if overlap == count == statuses["SUCCESS"] else 1


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*(given + [100, 180][len(given) :])))
