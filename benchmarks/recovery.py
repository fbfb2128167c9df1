"""From a failure to the first op of its recovery run, over failures of many causes; beside Dagster's own sensor.

`python -m benchmarks.recovery [FAILURES] [BURST] [STOCK]`: so many failures one after the other, so many at once, and
so many at once with a stock `run_failure_sensor` that returns a run request, on Dagster's default settings.
"""

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import httpx

from benchmarks.machine import machine
from benchmarks.served import STOCK, Served, served
from elexirion_dagster.execution.workers import WORKERS, worker
from elexirion_dagster.operations.rehearsal_server import variables
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer

PAUSE_S = 3.0
ASKS = """
name: asks
inputs: {mark: {type: string}}
retry: {max_attempts: 1}
steps:
  - {name: ask, type: llm, prompt: "<{{ inputs.mark }}>", output: {ok: boolean}}
fallback:
  - on: [overloaded, rate_limited, timeout, connection, auth, billing, model_not_found, refused, truncated,
         context_exceeded, malformed_output, command_failed, bad_input, worker_lost, unknown]
    change: {max_tokens: 500}
"""
SLEEPS = """
name: sleeps
steps:
  - {name: sleeps, type: command, run: [sleep, '60']}
fallback: [{on: [worker_lost], run: mends}]
"""
BREAKS = """
name: breaks
steps: [{name: breaks, type: command, run: ['false']}]
fallback: [{on: [command_failed], run: mends}]
"""
MENDS = "name: mends\nsteps: [{name: mends, type: set, vars: {x: 1}}]\n"
STOCK_JOBS = """
import dagster as dg

@dg.op
def breaks():
    raise Exception("broken")

@dg.job(executor_def=dg.in_process_executor)
def failing():
    breaks()

@dg.op
def mends(): ...

@dg.job(executor_def=dg.in_process_executor)
def recovery():
    mends()

@dg.run_failure_sensor(request_job=recovery, monitored_jobs=[failing], default_status=dg.DefaultSensorStatus.RUNNING)
def recover(context):
    return dg.RunRequest(run_key=context.dagster_run.run_id, tags={"of": context.dagster_run.run_id})

defs = dg.Definitions(jobs=[failing, recovery], sensors=[recover])
"""
FAULTS = (
    {"kind": "status", "status": 529},
    {"kind": "status", "status": 429},
    {"kind": "status", "status": 504},
    {"kind": "status", "status": 401},
    {"kind": "status", "status": 402},
    {"kind": "status", "status": 404},
    {"kind": "status", "status": 400, "message": "prompt is too long: 300000 tokens > 200000 maximum"},
    {"kind": "reset"},
    {"kind": "refusal"},
    {"kind": "truncation"},
    {"kind": "malformed"},
)
_TIMES = """
{ runsOrError(limit: 1000) { ... on Runs { results { runId status endTime tags { key value }
  stepStats { startTime } } } } }
"""


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def shown(title: str, seconds: Sequence[float], wanted: int) -> None:
    if not seconds:
        print(f"{title}: none of {wanted} recovered in time")
        return
    print(
        f"{title}: {len(seconds)} of {wanted} recovered; p50 {statistics.median(seconds):.1f} s, "
        f"p95 {percentile(seconds, 0.95):.1f} s, max {max(seconds):.1f} s"
    )


def times(up: Served, tag: str, runs: Sequence[str], within_s: float) -> dict[str, float]:
    """Seconds from the end of each failed run to the first op of the run that recovers it."""
    deadline = time.monotonic() + within_s
    while True:
        rows = up.ask(_TIMES)["runsOrError"]["results"]
        ended = {row["runId"]: row["endTime"] for row in rows if row["status"] == "FAILURE"}
        found = {}
        for row in rows:
            of = next((one["value"] for one in row["tags"] if one["key"] == tag), None)
            starts = [stats["startTime"] for stats in row["stepStats"] if stats["startTime"]]
            if of in runs and of in ended and starts:
                found[of] = min(starts) - ended[of]
        if len(found) == len(runs) or time.monotonic() > deadline:
            return found
        time.sleep(1)


def ours(failures: int, burst: int) -> None:
    marks = [f"mark-{number}" for number in range(failures + burst)]
    faults = [{**FAULTS[number % len(FAULTS)], "match": f"<{mark}>", "times": 1} for number, mark in enumerate(marks)]
    script = Script.model_validate({"answers": [{"data": {"ok": True}}], "faults": faults})
    pipelines = {"asks": ASKS, "sleeps": SLEEPS, "breaks": BREAKS, "mends": MENDS}
    with RehearsalServer(script) as server, served(pipelines, environ=variables(server.base_url)) as up:
        time.sleep(10)
        one_by_one, killed = isolated(up, marks[:failures])
        found = times(up, "elexirion/recovery_of", [*one_by_one, *killed], 120)
        shown("one after the other, all causes", list(found.values()), len(one_by_one) + len(killed))
        shown("  of these, workers killed", [found[run] for run in killed if run in found], len(killed))
        at_once = [up.launch("asks", mark=mark) for mark in marks[failures:]]
        found = times(up, "elexirion/recovery_of", at_once, 300)
        shown(f"{burst} at once", list(found.values()), burst)
        print("causes met:", dict(Counter(causes(up.home))))


def isolated(up: Served, marks: Sequence[str]) -> tuple[list[str], list[str]]:
    """Runs that fail one after the other: every fifth by its worker's death, every sixth by a command."""
    failing, killed = [], []
    for number, mark in enumerate(marks):
        if number % 5 == 4:
            run = up.launch("sleeps")
            kill(up, run)
            killed.append(run)
        else:
            failing.append(up.launch("breaks") if number % 6 == 5 else up.launch("asks", mark=mark))
        time.sleep(PAUSE_S)
    return failing, killed


def kill(up: Served, run: str) -> None:
    up.until([run], ["STARTED"], 60)
    pid = worker(up.home / "dagster" / WORKERS, run)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def causes(home: Path) -> list[str]:
    lines = (line for file in home.glob("journal/*/*.jsonl") for line in file.open(encoding="utf-8"))
    return [json.loads(line)["cause"] for line in lines if '"kind":"recovery"' in line]


def stock(count: int) -> None:
    """The same with what Dagster brings: its sensor, its launcher, its settings."""
    with tempfile.TemporaryDirectory(prefix="stock-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "jobs.py").write_text(STOCK_JOBS, encoding="utf-8")
        (folder / "dagster.yaml").write_text(STOCK, encoding="utf-8")
        environ: Mapping[str, str] = {**os.environ, "DAGSTER_HOME": name}
        port = free_port()
        command = [sys.executable, "-m", "dagster", "dev", "-f", "jobs.py", "-p", str(port), "-h", "127.0.0.1"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log)
        up = Stock(process, port, folder, environ, "jobs.py")
        try:
            up.ready()
            runs = [up.launch("failing") for _ in range(count)]
            shown(f"stock sensor, {count} at once", list(times(up, "of", runs, 60 + 40 * count).values()), count)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


class Stock(Served):
    """A stock `dagster dev`."""

    def ready(self) -> None:
        """Wait until it has loaded and its sensor has ticked once: what failed before is not looked at."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                entries = self.ask("{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }")
                if all(entry["loadStatus"] == "LOADED" for entry in entries["workspaceOrError"]["locationEntries"]):
                    break
            except httpx.TransportError:
                time.sleep(0.5)
        time.sleep(40)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    failures, burst, stocked = (int(word) for word in (*sys.argv[1:4], *("30", "20", "5")[len(sys.argv) - 1 :]))
    print(machine())
    ours(failures, burst)
    if stocked:
        stock(stocked)


if __name__ == "__main__":
    main()
