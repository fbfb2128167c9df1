"""From launching a run to its first op, for 1, 20 and 100 runs at once, beside Dagster's default launcher and settings.

`python -m benchmarks.launches [RUNS …] [--stock RUNS …]`: p50 and p95 of the seconds, runs started per second, CPU per
run. Both sides run the same pipelines with the same executor; stock is given less by default, as it needs minutes.
"""

import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.machine import machine
from benchmarks.served import STOCK, Served, served

PIPELINE = """
name: waits
steps:
  - {name: sleeps, type: command, run: [sleep, "5"]}
"""
ENDED = ("SUCCESS", "FAILURE", "CANCELED")
_MOST_S = 1200
_ASKING = 4
"""Launches that are asked for at the same time; asking one costs 0.2 s on either side."""


def measure(one: Served, count: int) -> dict[str, float]:
    """Launch so many runs and wait for their ends."""
    before = one.cpu_s()
    begun = time.time()
    with ThreadPoolExecutor(_ASKING) as pool:
        launched = dict(pool.map(lambda _: (time.time(), one.launch("waits"))[::-1], range(count)))
    asked = time.time() - begun
    found = one.until(list(launched), ENDED, _MOST_S)
    spent = one.cpu_s() - before
    assert {run["status"] for run in found.values()} == {"SUCCESS"}, {run["status"] for run in found.values()}
    starts = {run: min(step["startTime"] for step in row["stepStats"]) for run, row in found.items()}
    waited = sorted(starts[run] - at for run, at in launched.items())
    events = [(start, 1) for start in starts.values()] + [(row["endTime"], -1) for row in found.values()]
    now = most = 0
    for _, step in sorted(events):
        now += step
        most = max(most, now)
    return {
        "asked_s": asked,
        "p50": statistics.median(waited),
        "p95": waited[max(0, round(0.95 * count) - 1)],
        "rate": count / (max(starts.values()) - begun),
        "cpu": spent / count,
        "overlap": most,
    }


def side(name: str, counts: list[int], settings: str | None) -> dict[int, dict[str, float]]:
    with served({"waits": PIPELINE}, settings=settings) as one:
        measure(one, 1)  # what only the first run of a house pays
        found = {count: measure(one, count) for count in counts}
    for count, row in found.items():
        print(
            f"{name:6} {count:4} runs: first op after p50 {row['p50']:6.1f} s, p95 {row['p95']:6.1f} s, "
            f"{row['rate']:5.2f} runs started/s, {row['cpu']:5.2f} CPU-s a run, {row['overlap']:.0f} at once "
            f"(asking took {row['asked_s']:.1f} s)",
            flush=True,
        )
    return found


def main(ours: list[int], stock: list[int]) -> None:
    print(machine())
    mine, theirs = side("ours", ours, None), side("stock", stock, STOCK)
    for count in sorted(mine.keys() & theirs.keys()):
        rate = mine[count]["rate"] / theirs[count]["rate"]
        cpu = theirs[count]["cpu"] / mine[count]["cpu"]
        print(f"{count} runs: launch rate {rate:.1f} x stock's, CPU per run {cpu:.1f} x less")


if __name__ == "__main__":
    words = sys.argv[1:]
    cut = words.index("--stock") if "--stock" in words else len(words)
    main([int(word) for word in words[:cut]] or [1, 20, 100], [int(word) for word in words[cut + 1 :]] or [1, 20])
