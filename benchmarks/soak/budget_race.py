"""Many processes race for one daily budget against a server that bills the most it may: never over, and all of it used.

`python -m benchmarks.soak.budget_race [PROCESSES]`
"""

import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.soak.forks import ended, fork
from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.prompting.render import build_request
from elexirion_dagster.providers.pricing import upper_bound
from elexirion_dagster.rehearsal.script import Answer, Script, Tokens
from elexirion_dagster.rehearsal.server import RehearsalServer
from elexirion_dagster.run import Run, RunInfo
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.accounts.ledger import Ledger
from elexirion_dagster.store.home import open_home

MODEL, MAX_TOKENS, WANTED = "claude-sonnet-4-5", 500, 10
PIPELINE = f"""
name: race
model: anthropic/{MODEL}
retry: {{max_attempts: 1}}
steps:
  - name: each
    type: for_each
    items: "{{{{ range({WANTED}) | list }}}}"
    max_parallel: 4
    on_error: collect
    steps: [{{name: ask, type: llm, prompt: go, max_tokens: {MAX_TOKENS}}}]
"""
"""What each process wants: WANTED calls."""


def main(processes: int) -> int:
    print(machine())
    request = build_request(model=MODEL, user="go", max_tokens=MAX_TOKENS)
    bound = upper_bound("anthropic", request)
    bound_usd = bound.usd
    assert bound_usd is not None
    most = Tokens(cache_write_tokens=bound.tokens - MAX_TOKENS, output_tokens=MAX_TOKENS)
    allowed = processes * WANTED // 2
    budget_usd = bound_usd * (allowed + 0.5)
    script = Script(latency_ms=20, answers=(Answer(text="ok", usage=most),))
    with tempfile.TemporaryDirectory() as home, RehearsalServer(script) as server:
        command = [
            sys.executable,
            "-m",
            "benchmarks.soak.budget_race",
            home,
            server.base_url,
            str(processes),
            repr(budget_usd),
        ]
        subprocess.run(command, check=True)
        ledger = Ledger(open_home(Path(home)))
        spent = ledger.spent(f"day:{datetime.now(UTC).date()}")
        ledger.close()
    billed_usd = server.count * bound_usd
    wanted = processes * WANTED
    print(f"{processes} processes wanted {wanted} calls at ${bound_usd:.6f}; the day may cost ${budget_usd:.6f}")
    print(f"the server got {server.count} calls and billed ${billed_usd:.6f}; the ledger says ${spent.usd:.6f}")
    good = server.count == allowed and billed_usd <= budget_usd and abs(spent.usd - billed_usd) < bound_usd / 1000
    print("never over, all of it used" if good else "WRONG")
    return 0 if good and spent.reserved_usd == 0 else 1


def race(home: str, url: str, processes: int, budget_usd: float) -> int:
    """Let the processes run at the same time; 1 when one of them ended badly."""
    settings = Settings.model_validate(
        {
            "home": Path(home),
            "anthropic_api_key": "rehearsal",
            "anthropic_base_url": url,
            "budget_usd_per_day": budget_usd,
        }
    )
    pids = [fork(partial(run, settings)) for _ in range(processes)]
    return max(abs(ended(pid)) for pid in pids)


def run(settings: Settings) -> None:
    """One process's run: every call succeeds or is refused by the budget."""
    pipeline = load_string(PIPELINE).pipeline
    name = f"run-{os.getpid()}"
    begun = Run(pipeline, RunInfo(name, name, {}, {}, "benchmark"), settings)
    result = begun.step(pipeline.steps[0], {})
    begun.close()
    causes = {entry["ask"]["error"]["cause"] for entry in result.results or [] if entry["status"] == "failed"}
    assert causes <= {"budget_exceeded"}, causes


if __name__ == "__main__":
    given = sys.argv[1:]
    if len(given) > 1:
        sys.exit(race(given[0], given[1], int(given[2]), float(given[3])))
    sys.exit(main(int(given[0]) if given else 50))
