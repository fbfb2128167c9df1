"""Chaos: workers, zygote, daemon and code server killed, workers stopped, the provider down, many failing at once.

`python -m benchmarks.soak.chaos [RUNS] [KILLS] [BURST]`, against one real `elexirion up` and a rehearsal server. At the
end nothing may be lost or doubled: see `wrong`. Full disks and clocks set back are in tests/compiler/test_recovery.py:
to bring them about for a whole machine is not a benchmark's business.
"""

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from benchmarks.launches import ENDED
from benchmarks.machine import machine
from benchmarks.served import Served, served
from benchmarks.soak.kills import VICTIMS, kill
from elexirion_dagster.execution import workers
from elexirion_dagster.operations.rehearsal_server import variables
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer
from elexirion_dagster.store.database import ingest, query
from elexirion_dagster.store.home import Home

DOWN_S, STOPPED_S = 20.0, 10.0
_BACK_S = 60.0
ASKS = """
name: asks
model: anthropic/claude-sonnet-5-5
inputs: {mark: {type: string}}
retry: {max_attempts: 2, initial_s: 0.2, max_s: 1}
limits: {max_recoveries: 8}
steps:
  - {name: first, type: llm, prompt: "one {{ inputs.mark }}", max_tokens: 100}
  - {name: rests, type: command, needs: [first], run: [sleep, '2']}
  - {name: second, type: llm, needs: [rests], prompt: "two {{ inputs.mark }} {{ steps.first.text }}", max_tokens: 100}
fallback:
  - {on: [worker_lost, connection, overloaded, timeout, rate_limited, unknown], wait: true}
"""
FALLS = """
name: falls
steps: [{name: fails, type: command, run: ['false']}]
fallback: [{on: [command_failed], run: mends}]
"""
MENDS = "name: mends\nsteps: [{name: mends, type: set, vars: {x: 1}}]\n"
_RUNS = """
{ runsOrError(limit: 5000) { ... on Runs { results { runId pipelineName status tags { key value } } } } }
"""


@dataclass
class Chaos:
    """What goes on while runs do: a moment for each blow, in seconds since the beginning."""

    up: Served
    dice: random.Random
    killed: Counter[str] = field(default_factory=Counter)
    stopped: dict[int, float] = field(default_factory=dict)

    def strike(self) -> None:
        """One blow, at whatever there is."""
        victim = self.dice.choice([*sorted(VICTIMS), "stop a worker"])
        if victim == "stop a worker":
            self.stop()
        else:
            self.killed[victim] += kill(self.up, victim, self.dice)

    def stop(self) -> None:
        """SIGSTOP to a worker, for a while."""
        folder = self.up.home / "dagster" / workers.WORKERS
        pids = [pid for run in workers.warm(folder) if (pid := workers.worker(folder, run))]
        if pids:
            pid = self.dice.choice(pids)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                self.stopped[pid] = time.monotonic() + STOPPED_S
                self.killed["worker stopped"] += 1

    def let_go(self) -> None:
        """SIGCONT to those that stood still long enough."""
        for pid in [pid for pid, until in self.stopped.items() if until < time.monotonic()]:
            del self.stopped[pid]
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def all_runs(up: Served) -> dict[str, dict[str, Any]]:
    """Every run with its tags as a map."""
    rows = up.ask(_RUNS)["runsOrError"]["results"]
    return {row["runId"]: {**row, "tags": {tag["key"]: tag["value"] for tag in row["tags"]}} for row in rows}


def settled(up: Served, within_s: float) -> dict[str, dict[str, Any]]:
    """All runs once each failed one was decided about and nothing is under way any more."""
    deadline = time.monotonic() + within_s
    while True:
        with suppress(AssertionError, OSError, httpx.TransportError):
            rows = all_runs(up)
            decided = {line["run"] for line in lines(up) if line["kind"] == "recovery"}
            failed = {run for run, row in rows.items() if row["status"] == "FAILURE"}
            wanted = {launch["key"] for line in lines(up) if line["kind"] == "recovery" for launch in line["launches"]}
            there = {row["tags"].get("dagster/run_key") for row in rows.values()}
            if (all(row["status"] in ENDED for row in rows.values()) and failed <= decided and wanted <= there) or (
                time.monotonic() > deadline
            ):
                return rows
        time.sleep(2)


def lines(up: Served) -> list[dict[str, Any]]:
    """Every line of the journal that is whole."""
    texts = (line for file in sorted(up.home.glob("journal/*/*.jsonl")) for line in file.open(encoding="utf-8"))
    return [json.loads(line) for line in texts if line.endswith("\n")]


def wrong(rows: Mapping[str, Mapping[str, Any]], journal: list[dict[str, Any]], roots: list[str]) -> Iterator[str]:
    """What should not be: runs that hang or were forgotten, replies paid twice, recoveries lost or doubled."""
    decisions = Counter(line["run"] for line in journal if line["kind"] == "recovery")
    keys = Counter(row["tags"]["dagster/run_key"] for row in rows.values() if "dagster/run_key" in row["tags"])
    replies = Counter(
        (line["root_run"], line["path"], line["request_hash"], line["occurrence"])
        for line in journal
        if line["kind"] == "reply"
    )
    yield from (f"{run} is still {row['status']}" for run, row in rows.items() if row["status"] not in ENDED)
    yield from (f"{root} is gone" for root in roots if root not in rows)
    yield from (f"the failed run {run} has {decisions[run]} decisions" for run, row in rows.items()
                if row["status"] == "FAILURE" and decisions[run] != 1)  # fmt: skip
    yield from (f"{key} was started {count} times" for key, count in keys.items() if count != 1)
    yield from (f"{place} was paid {count} times" for place, count in replies.items() if count != 1)
    asked = {launch["key"] for line in journal if line["kind"] == "recovery" for launch in line["launches"]}
    yield from (f"the recovery {key} was never started" for key in asked - keys.keys())


def main(count: int, kills: int, burst: int) -> int:
    print(machine())
    dice = random.Random(7)  # noqa: S311 - moments, not secrets
    script = Script.model_validate({"answers": [{"text": "fine"}]})
    server = RehearsalServer(script).__enter__()
    with served({"asks": ASKS, "falls": FALLS, "mends": MENDS}, environ=variables(server.base_url)) as up:
        time.sleep(12)  # the sensors' first look
        chaos, roots = Chaos(up, dice), []
        moments = sorted(dice.uniform(3, 3 + count) for _ in range(kills))
        begun, down = time.monotonic(), False
        while len(roots) < count or moments or chaos.stopped:
            if len(roots) < count:
                with suppress(
                    AssertionError, OSError, httpx.TransportError
                ):  # a launch that was refused is not lost: its caller knows
                    roots.append(up.launch("asks", mark=str(len(roots))))
            while moments and moments[0] < time.monotonic() - begun:
                moments.pop(0)
                chaos.strike()
            chaos.let_go()
            if not down and len(roots) > count // 2:
                down, port = True, int(server.base_url.rsplit(":", 1)[1])
                server.__exit__(None, None, None)
                back = time.monotonic() + DOWN_S
            if down and server is not None and time.monotonic() > back and "provider down" not in chaos.killed:
                server = RehearsalServer(script, port=port).__enter__()
                chaos.killed["provider down"] += 1
            time.sleep(0.5)
        while down and "provider down" not in chaos.killed:
            time.sleep(max(0.0, back - time.monotonic()))
            server = RehearsalServer(script, port=port).__enter__()
            chaos.killed["provider down"] += 1
        roots += [taken(up, "falls") for _ in range(burst)]
        rows = settled(up, 600)
        journal = lines(up)
        complaints = list(wrong(rows, journal, roots))
        complaints += rows_lost(up, journal)
        report(rows, journal, roots, chaos)
        processes = up.processes()
    server.__exit__(None, None, None)
    orphans = [one.pid for one in processes if one.is_running() and one.status() != "zombie"]
    complaints += [f"process {pid} outlived `elexirion up`" for pid in orphans]
    print("\n".join(complaints) or "nothing was lost, doubled, paid twice or left hanging")
    return 1 if complaints else 0


def taken(up: Served, job: str) -> str:
    """The id of a new run, asked for again while what was killed last is not back."""
    deadline = time.monotonic() + _BACK_S
    while True:
        try:
            return up.launch(job)
        except (AssertionError, OSError, httpx.TransportError):
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def rows_lost(up: Served, journal: list[dict[str, Any]]) -> Iterator[str]:
    """Replies of the journal that the tables lack, or have twice."""
    home = Home(up.home)
    ingest(home)
    in_tables = {
        str(call): int(rows) for call, rows in query(home, "SELECT call_id, count(*) FROM answers GROUP BY ALL").rows
    }
    for line in journal:
        if line["kind"] == "reply" and in_tables.get(line["call_id"]) != 1:
            yield f"reply {line['call_id']} has {in_tables.get(line['call_id'], 0)} rows"


def report(
    rows: Mapping[str, Mapping[str, Any]], journal: list[dict[str, Any]], roots: list[str], chaos: Chaos
) -> None:
    last = {
        root: [row["status"] for row in rows.values() if row["tags"].get("elexirion/root_run", row["runId"]) == root]
        for root in roots
    }
    ends = Counter("succeeded" if "SUCCESS" in statuses else "failed for good" for statuses in last.values())
    decided = Counter((line["cause"], line["action"]) for line in journal if line["kind"] == "recovery")
    print(f"{len(roots)} root runs, {len(rows)} runs in all; {dict(chaos.killed)}; ends {dict(ends)}; {dict(decided)}")


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*(given + [100, 40, 50][len(given) :])))
