"""From a failure to the first op of its recovery run, over failures of many causes; beside Dagster's own sensor.

`python -m benchmarks.recovery [FAILURES] [BURST] [QUEUED] [KILLS] [STOCK]`: so many failures one after the other, so
many at once, each component killed so many times, a fifth as many failures as runs wait in the queue, and so many
failures at once with a stock `run_failure_sensor` that returns a run request, on Dagster's default settings.
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
from typing import Any

import httpx
from dagster import DagsterInstance

from benchmarks.components import COMPONENTS, kill, launched
from benchmarks.machine import machine
from benchmarks.served import STOCK, Served, served
from elexirion_dagster.compiler.starting import start_copy
from elexirion_dagster.execution.workers import WORKERS, worker
from elexirion_dagster.operations.rehearsal_server import variables
from elexirion_dagster.recovery.plan import Launch
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer

PAUSE_S, _BACK_S = 3.0, 90.0
PLACES = 130
"""How many first runs a new home lets work at once; further ones wait in the queue."""
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
SLOW = """
name: slow
inputs: {mark: {type: string}}
retry: {max_attempts: 1}
steps:
  - {name: ask, type: llm, prompt: "<{{ inputs.mark }}>", output: {ok: boolean}}
fallback: [{on: [truncated, worker_lost], change: {max_tokens: 500}}]
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
FILLED_S = 400
"""How long the runs work that fill all places, so that others wait in the queue."""
SLOW_S = 4.0
"""How long the model takes for an answer that will be cut off, while something else happens."""
RESTS = """
name: rests
inputs: {mark: {type: string}}
steps: [{name: rests, type: command, run: [sleep, '1']}]
"""
FILLS = f"name: fills\nsteps: [{{name: rests, type: command, run: [sleep, '{FILLED_S}']}}]\n"
GATED = """
name: gated
inputs: {gate: {type: path}}
steps:
  - name: waits
    type: command
    run: [sh, -c, 'until [ -e "$0/open" ]; do sleep 0.5; done; false', "{{ inputs.gate }}"]
fallback: [{on: [command_failed, worker_lost], change: {max_tokens: 500}}]
"""
_TIMES = """
{ runsOrError(limit: 2000) { ... on Runs { results { runId status endTime tags { key value }
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
        rows = rows_of(up)
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


def rows_of(up: Served) -> list[dict[str, Any]]:
    """All runs; asked again while the web server is not there."""
    deadline = time.monotonic() + _BACK_S
    while True:
        try:
            rows: list[dict[str, Any]] = up.ask(_TIMES)["runsOrError"]["results"]
        except (AssertionError, ValueError, OSError, httpx.TransportError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return rows


def ours(failures: int, burst: int, queued: int, kills: int) -> None:
    marks = [f"mark-{number}" for number in range(failures + burst)]
    slow = [f"slow-{number}" for number in range(kills * (len(COMPONENTS) + 1))]
    faults = [{**FAULTS[number % len(FAULTS)], "match": f"<{mark}>", "times": 1} for number, mark in enumerate(marks)]
    faults += [{"kind": "truncation", "match": f"<{mark}>", "times": 1} for mark in slow]
    answers = [{"match": "<slow-", "latency_ms": 1000 * SLOW_S, "data": {"ok": True}}, {"data": {"ok": True}}]
    script = Script.model_validate({"answers": answers, "faults": faults})
    pipelines = {
        "asks": ASKS,
        "sleeps": SLEEPS,
        "breaks": BREAKS,
        "mends": MENDS,
        "rests": RESTS,
        "slow": SLOW,
        "fills": FILLS,
        "gated": GATED,
    }
    with RehearsalServer(script) as server, served(pipelines, environ=variables(server.base_url)) as up:
        time.sleep(10)
        one_by_one, killed = isolated(up, marks[:failures])
        found = times(up, "elexirion/recovery_of", [*one_by_one, *killed], 120)
        shown("one after the other, all causes", list(found.values()), len(one_by_one) + len(killed))
        shown("  of these, workers killed", [found[run] for run in killed if run in found], len(killed))
        at_once = [up.launch("asks", mark=mark) for mark in marks[failures:]]
        found = times(up, "elexirion/recovery_of", at_once, 300)
        shown(f"{burst} at once", list(found.values()), burst)
        for component in (*COMPONENTS, "worker") if kills else ():
            without(up, component, [slow.pop() for _ in range(kills)])
        behind_a_queue(up, queued)
        print("causes met:", dict(Counter(causes(up.home))))


def behind_a_queue(up: Served, queued: int) -> None:
    """A fifth as many runs that fail, four of five by themselves and one by its worker's death, once so many wait."""
    if not queued:
        return
    gate = up.folder / "gate"
    gate.mkdir()
    failing = [up.launch("gated", gate=str(gate)) for _ in range(queued // 5)]
    seed = up.launch("fills")
    up.until([*failing, seed], ["STARTED"], 120)
    enqueue(up, seed, PLACES + queued)
    while (waiting := sum(row["status"] == "QUEUED" for row in rows_of(up))) > queued + len(failing):
        time.sleep(1)
    (gate / "open").touch()
    for run in failing[::5]:
        kill_worker(up, run)
    found = times(up, "elexirion/recovery_of", failing, 300)
    shown(f"with {waiting} runs in the queue", list(found.values()), len(failing))


def enqueue(up: Served, seed: str, count: int) -> None:
    """So many further runs like this one, faster than a web server takes them."""
    with DagsterInstance.from_config(str(up.home / "dagster")) as instance:
        run = instance.get_run_by_id(seed)
        assert run is not None
        for number in range(count):
            start_copy(instance, run, Launch(f"queued:{number}", run.job_name, run.tags), run.run_config)


def without(up: Served, component: str, slow: Sequence[str]) -> None:
    """Kill the component while a run is at the call that will fail it, and launch another run."""
    starts, goes_on = [], []
    for mark in slow:
        failing = launched(up, "slow", _BACK_S, mark=mark)
        up.until([failing], ["STARTED"], 60)
        at = time.time()
        assert kill(up, component), component
        run = launched(up, "rests", _BACK_S, mark=mark)
        found = times(up, "elexirion/recovery_of", [failing], _BACK_S)
        goes_on += found.values()
        starts += [max(began(up, run) - at, 0.0)]
        up.until([failing, run], ["SUCCESS", "FAILURE"], 60)
        time.sleep(PAUSE_S)
    shown(f"{component} killed, a failed run goes on", goes_on, len(slow))
    print(f"{component} killed, a launched run starts {', '.join(f'{one:.1f}' for one in starts)} s after")


def began(up: Served, run: str) -> float:
    """When the first op of a run began."""
    deadline = time.monotonic() + _BACK_S
    while time.monotonic() < deadline:
        row = next(one for one in rows_of(up) if one["runId"] == run)
        if starts := [stats["startTime"] for stats in row["stepStats"] if stats["startTime"]]:
            return float(min(starts))
        time.sleep(0.5)
    return float("inf")


def isolated(up: Served, marks: Sequence[str]) -> tuple[list[str], list[str]]:
    """Runs that fail one after the other: every fifth by its worker's death, every sixth by a command."""
    failing, killed = [], []
    for number, mark in enumerate(marks):
        if number % 5 == 4:
            run = up.launch("sleeps")
            kill_worker(up, run)
            killed.append(run)
        else:
            failing.append(up.launch("breaks") if number % 6 == 5 else up.launch("asks", mark=mark))
        time.sleep(PAUSE_S)
    return failing, killed


def kill_worker(up: Served, run: str) -> None:
    up.until([run], ["STARTED", "FAILURE"], 60)
    pid = worker(up.home / "dagster" / WORKERS, run)
    if pid is not None:
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
    given = [int(word) for word in sys.argv[1:]]
    failures, burst, queued, kills, stocked = given + [30, 20, 100, 2, 5][len(given) :]
    print(machine())
    ours(failures, burst, queued, kills)
    if stocked:
        stock(stocked)


if __name__ == "__main__":
    main()
