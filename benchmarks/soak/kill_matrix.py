"""Pay once: SIGKILL after every journal line of a pipeline, and at random moments; resume; count what the server got.

`python -m benchmarks.soak.kill_matrix [CALLS] [RANDOM_POINTS]`
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from benchmarks.soak.forks import ended, fork
from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer
from elexirion_dagster.run import Run, RunInfo
from elexirion_dagster.settings import Settings
from elexirion_dagster.store import database
from elexirion_dagster.store.accounts.ledger import Ledger
from elexirion_dagster.store.home import Home, open_home
from elexirion_dagster.store.journal import JournalWriter

PIPELINE = """
name: matrix
model: anthropic/claude-sonnet-4-5
budget: {usd: 5}
steps:
  - {name: first, type: llm, prompt: question one, max_tokens: 100}
  - {name: second, type: llm, prompt: "after {{ steps.first.text }}", max_tokens: 100}
  - name: each
    type: for_each
    items: "{{ range(ITEMS) | list }}"
    max_parallel: PARALLEL
    steps: [{name: look, type: llm, prompt: "look at {{ item }}", max_tokens: 100}]
  - {name: last, type: llm, prompt: the last question, max_tokens: 100}
"""
"""CALLS calls: three and one per item."""
SHOWN = """
WITH shown AS (SELECT root_run, count(*) AS calls, sum(max_usd) AS usd FROM possibly_paid GROUP BY ALL),
paid AS (SELECT root_run, sum(cost_usd) AS usd FROM run_costs GROUP BY ALL)
SELECT root_run, coalesce(shown.calls, 0), paid.usd + coalesce(shown.usd, 0)
FROM paid LEFT JOIN shown USING (root_run)
"""
"""How many calls of each root run may have been paid for nothing, and what all of its calls come to at most."""


@dataclass(frozen=True)
class Round:
    """One run killed and resumed under one root: what the server got, what the run came to, whether it was killed."""

    root: str
    calls: int
    results: Any
    killed: bool
    seconds: float


class Driver:
    """The process that forks the runs."""

    def __init__(self, home: Path, server: RehearsalServer, calls: int) -> None:
        self._server = server
        command = [sys.executable, "-m", "benchmarks.soak.kill_matrix", str(home), server.base_url, str(calls)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def round(self, root: str, *, line: int = 0, after_s: float = 0.0, parallel: int = 1) -> Round:
        """Kill after so many lines or seconds (0: not at all), then resume."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        before = self._server.count
        asked = {"root": root, "line": line, "after_s": after_s, "parallel": parallel}
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        told = json.loads(self._process.stdout.readline())
        return Round(root, self._server.count - before, **told)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def main(calls: int, points: int) -> int:
    print(machine())
    with tempfile.TemporaryDirectory() as folder, RehearsalServer(Script(latency_ms=20)) as server:
        home = open_home(Path(folder) / "home")
        driver = Driver(home.path, server, calls)
        whole = driver.round("whole", parallel=4)
        assert whole.calls == calls
        wrong = [*matrix(driver, home, whole), *random_points(driver, home, whole, points)]
        driver.close()
    print("\n".join(wrong) or "every reply was paid once; what may have been paid twice is shown and counted")
    return 1 if wrong else 0


def matrix(driver: Driver, home: Home, whole: Round) -> Iterator[str]:
    """SIGKILL after every journal line: exactly as many calls as without."""
    rounds: list[Round] = []
    while (one := driver.round(f"line-{len(rounds) + 1}", line=len(rounds) + 1)).killed:
        rounds.append(one)
    for one in rounds:
        if one.calls != whole.calls:
            yield f"{one.root}: {one.calls} calls"
    shown = yield from judged(home, rounds, whole)
    print(f"{len(rounds)} journal lines, killed after each: {whole.calls} calls each, {shown} possibly paid")


def random_points(driver: Driver, home: Home, whole: Round, points: int) -> Iterator[str]:
    """SIGKILL at any moment, calls side by side: no more calls than without and those in flight."""
    dice = random.Random(7)  # noqa: S311 - moments, not secrets
    rounds = [
        driver.round(f"random-{number}", after_s=dice.uniform(0.001, whole.seconds), parallel=4)
        for number in range(points)
    ]
    shown = yield from judged(home, rounds, whole)
    killed, more = sum(one.killed for one in rounds), sum(one.calls - whole.calls for one in rounds)
    print(f"{points} random moments, {killed} of them before the end: {more} calls more, {shown} possibly paid")


def judged(home: Home, rounds: list[Round], whole: Round) -> Iterator[str]:
    """What is wrong with results, possibly paid calls or the budget; returns how many are shown as possibly paid."""
    database.ingest(home)
    rows = {root: (shown, usd) for root, shown, usd in database.query(home, SHOWN).rows}
    ledger, total = Ledger(home), 0
    for one in rounds:
        shown, usd = rows[one.root]
        spent = ledger.spent(f"run:{one.root}")
        total += shown
        if not whole.calls <= one.calls <= whole.calls + shown:
            yield f"{one.root}: {one.calls} calls, {shown} shown as possibly paid"
        if one.results != whole.results:
            yield f"{one.root}: other results {one.results}"
        if spent.usd < usd - 1e-9 or spent.reserved_usd:
            yield f"{one.root}: the budget says ${spent.usd}, paid or possibly paid ${usd}"
    ledger.close()
    return total


def drive(home: Path, url: str, calls: int) -> None:
    """Read rounds from standard input, fork their runs, tell how they ended."""
    settings = Settings.model_validate({"home": home, "anthropic_api_key": "rehearsal", "anthropic_base_url": url})
    for text in sys.stdin:
        asked = json.loads(text)
        root = asked["root"]
        out = home / f"{root}.json"
        pipeline = PIPELINE.replace("ITEMS", str(calls - 3)).replace("PARALLEL", str(asked["parallel"]))
        started = time.perf_counter()
        run = partial(work, settings, pipeline, root=root, out=out)
        first = fork(partial(run, name=root, line=asked["line"]))
        if asked["after_s"]:
            time.sleep(asked["after_s"])
            os.kill(first, signal.SIGKILL)
        code, seconds = ended(first), time.perf_counter() - started
        if code:
            assert code == -signal.SIGKILL
            assert ended(fork(partial(run, name=f"{root}-again", line=0))) == 0
        told = {"results": json.loads(out.read_text()), "killed": bool(code), "seconds": seconds}
        print(json.dumps(told), flush=True)


def work(settings: Settings, text: str, *, name: str, root: str, line: int, out: Path) -> None:
    """One run; dies after so many journal lines, or writes its results."""
    written = 0
    append = JournalWriter.append

    def counted(self: JournalWriter, kind: str, **fields: Any) -> None:
        nonlocal written
        append(self, kind, **fields)
        written += 1
        if written == line:
            os.kill(os.getpid(), signal.SIGKILL)

    JournalWriter.append = counted  # type: ignore[method-assign]
    pipeline = load_string(text).pipeline
    begun = Run(pipeline, RunInfo(name, root, {}, {}, "benchmark"), settings)
    done: dict[str, Any] = {}
    for step in pipeline.steps:
        done[step.name] = begun.step(step, done)
    begun.close()
    texts = [(one.status, one.text, [item["look"]["text"] for item in one.results or []]) for one in done.values()]
    out.write_text(json.dumps(texts))


if __name__ == "__main__":
    given = sys.argv[1:]
    if len(given) > 2:
        drive(Path(given[0]), given[1], int(given[2]))
        sys.exit()
    sys.exit(main(int(given[0]) if given else 20, int(given[1]) if len(given) > 1 else 100))
