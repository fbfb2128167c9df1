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

SCRIPT = Script.model_validate({"answers": [{"text": "fine"}]})
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


class Model:
    """The server that plays the model, gone once for DOWN_S seconds."""

    def __init__(self) -> None:
        self.server = RehearsalServer(SCRIPT).__enter__()
        self._port = int(self.server.base_url.rsplit(":", 1)[1])
        self._back = 0.0

    @property
    def is_away(self) -> bool:
        """Whether nobody listens."""
        return self._back > 0

    def leave(self) -> None:
        """Be gone from now on."""
        self.server.__exit__(None, None, None)
        self._back = time.monotonic() + DOWN_S

    def look(self) -> None:
        """Be there again when it is time."""
        if self.is_away and time.monotonic() > self._back:
            self.server, self._back = RehearsalServer(SCRIPT, port=self._port).__enter__(), 0.0


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


def storm(chaos: Chaos, model: Model, count: int, kills: int) -> list[str]:
    """Launch so many runs while there are so many blows and the model is away; their ids."""
    roots: list[str] = []
    moments = sorted(chaos.dice.uniform(3, 3 + count) for _ in range(kills))
    begun = time.monotonic()
    while len(roots) < count or moments or chaos.stopped or model.is_away:
        if len(roots) < count:
            with suppress(AssertionError, OSError, httpx.TransportError):  # refused is not lost: its caller knows
                roots.append(chaos.up.launch("asks", mark=str(len(roots))))
        while moments and moments[0] < time.monotonic() - begun:
            moments.pop(0)
            chaos.strike()
        chaos.let_go()
        if "provider down" not in chaos.killed and len(roots) > count // 2:
            model.leave()
            chaos.killed["provider down"] += 1
        model.look()
        time.sleep(0.5)
    return roots


def main(count: int, kills: int, burst: int) -> int:
    print(machine())
    model = Model()
    with served({"asks": ASKS, "falls": FALLS, "mends": MENDS}, environ=variables(model.server.base_url)) as up:
        time.sleep(12)  # the sensors' first look
        chaos = Chaos(up, random.Random(7))  # noqa: S311 - moments, not secrets
        roots = storm(chaos, model, count, kills)
        roots += [taken(up, "falls") for _ in range(burst)]
        rows = settled(up, 600)
        journal = lines(up)
        complaints = [*wrong(rows, journal, roots), *rows_lost(up, journal)]
        report(rows, journal, roots, chaos)
        processes = up.processes()
    model.server.__exit__(None, None, None)
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
