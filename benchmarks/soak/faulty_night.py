"""A night in which a fifth of all model calls fails, in the ways that a rehearsal can script: what comes of the runs.

`python -m benchmarks.soak.faulty_night [RUNS] [AT_ONCE]`. Runs and recoveries work in this process, through the same
run, rules and journal as in Dagster: the start of processes is not what is measured here (benchmarks/recovery.py is).
"""

import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from benchmarks.machine import machine
from elexirion_dagster.dialects.load import load_any
from elexirion_dagster.operations.rehearsal_server import variables
from elexirion_dagster.records import StepResult
from elexirion_dagster.recovery.plan import Failed, Plan
from elexirion_dagster.recovery.recover import recover
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer
from elexirion_dagster.run import Run, RunInfo
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.database import ingest, query
from elexirion_dagster.store.home import Home

CALLS = 3
NIGHT = """
name: night
model: anthropic/claude-sonnet-5-5
retry: {max_attempts: 3, initial_s: 0.05, max_s: 1}
limits: {max_recoveries: 4}
steps:
  - {name: first, type: llm, prompt: what is there, max_tokens: 200}
  - {name: second, type: llm, prompt: "and then {{ steps.first.text }}", output: {ok: boolean}, max_tokens: 200}
  - {name: last, type: llm, prompt: "in short {{ steps.second.data.ok }}", max_tokens: 200}
fallback:
  - on: [refused, truncated, malformed_output, context_exceeded, auth, billing, model_not_found]
    change: {model: gemini/gemini-2.5-flash}
  - on: [refused, truncated, malformed_output, context_exceeded, auth, billing, model_not_found, unknown]
    change: {model: [anthropic/claude-sonnet-5-5, gemini/gemini-2.5-flash], max_tokens: 400}
  - {on: [refused, truncated, malformed_output, auth, billing, model_not_found, unknown], wait: true}
"""
KINDS: tuple[Mapping[str, object], ...] = (
    {"kind": "status", "status": 529},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 504},
    {"kind": "status", "status": 429, "retry_after_ms": 50},
    {"kind": "status", "status": 401},
    {"kind": "reset"},
    {"kind": "cut", "after_events": 2},
    {"kind": "malformed"},
    {"kind": "html"},
    {"kind": "refusal"},
    {"kind": "truncation"},
    {"kind": "error_event"},
    {"kind": "wrong_content_type"},
)
MOST_PAUSE_S = 1.0
"""Recoveries that wait do so no longer here, to keep the night short."""
EVERY = 49
"""Each kind meets about every so-manieth call: the 14 kinds together a fifth and a little more."""


@dataclass
class Night:
    """The runs of one night."""

    file: Path
    settings: Settings
    ends: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)

    def root(self, _number: int) -> None:
        """One root run with all its recoveries."""
        root = uuid.uuid4().hex
        run, tags = root, {}
        while True:
            status, cause = self.once(run, root, tags)
            if cause is None:
                self.ends[status if run == root else f"{status} after recovery"] += 1
                return
            self.causes[cause] += 1
            failed = Failed(run, root, "night", cause, None, time.time(), {}, tags)
            plan = recover(failed, self.settings, {"night": self.file})
            if not plan.launches:
                self.ends["parked"] += 1
                return
            wait(plan)
            run, tags = uuid.uuid4().hex, dict(plan.launches[0].tags)

    def once(self, run: str, root: str, tags: Mapping[str, str]) -> tuple[str, str | None]:
        """Status and cause of one run."""
        loaded = load_any(self.file)
        opened = Run(loaded.pipeline, RunInfo(run, root, {}, tags, "soak"), self.settings)
        results: dict[str, StepResult] = {}
        try:
            for step in loaded.pipeline.steps:
                results[step.name] = StepResult.from_json(opened.step(step, results).to_json())
                if results[step.name].error is not None:
                    return "failed", results[step.name].error.cause
        finally:
            failed = any(result.status == "failed" for result in results.values())
            opened.journal.append("run_finished", status="failed" if failed else "succeeded")
            opened.close()
        return "degraded" if any(one.status == "degraded" for one in results.values()) else "succeeded", None


def wait(plan: Plan) -> None:
    if plan.due_at is not None:
        time.sleep(max(0.0, min(plan.due_at - time.time(), MOST_PAUSE_S)))


def main() -> None:
    runs, at_once = (int(word) for word in (*sys.argv[1:3], *("1000", "8")[len(sys.argv) - 1 :]))
    print(machine())
    faults = [{**kind, "every": EVERY + 2 * number + 1} for number, kind in enumerate(KINDS)]
    script = Script.model_validate(
        {"answers": [{"match": "and then", "data": {"ok": True}}, {"text": "fine"}], "faults": faults}
    )
    with RehearsalServer(script) as server, tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "night.yaml"
        file.write_text(NIGHT, encoding="utf-8")
        night = Night(file, Settings.from_env({"ELEXIRION_HOME": f"{folder}/home", **variables(server.base_url)}))
        begun = time.monotonic()
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(partial(Night.root, night), range(runs)))
        took = time.monotonic() - begun
        home = Home(Path(folder) / "home")
        ingest(home)
        layers = query(home, "SELECT layer, times, succeeded, p50_s FROM layers")
        report(night, runs, server.count, sum(server.faults.values()), took)
        for row in layers.rows:
            print("  layer", dict(zip(layers.columns, row, strict=True)))


def report(night: Night, runs: int, calls: int, failed: int, took: float) -> None:
    well = sum(count for end, count in night.ends.items() if end.startswith("succeeded"))
    degraded = sum(count for end, count in night.ends.items() if end.startswith("degraded"))
    print(f"{runs} runs in {took:.0f} s; {calls} calls, {failed / calls:.1%} of them failed; ends {dict(night.ends)}")
    print(f"succeeded {well / runs:.2%}; succeeded or degraded by a declared fallback {(well + degraded) / runs:.2%}")
    print(f"calls: {calls / (CALLS * runs):.3f} times those of a faultless night; failed runs {dict(night.causes)}")


if __name__ == "__main__":
    main()
