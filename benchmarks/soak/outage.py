"""Providers that go away while many runs fail anyway: what comes of the runs.

`python -m benchmarks.soak.outage [RUNS] [SHARE] [AWAY_S]`: so many root runs on one `elexirion up`, a share of them
with a fault that outlasts the step's retries; meanwhile the rehearsal server is gone twice for AWAY_S seconds and
answers 529 to everything for two thirds of that. A run is lost where it neither came out well nor waits for its
provider; nothing may be left to a person for a cause that passed.
"""

import random
import sys
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import httpx

from benchmarks.machine import machine
from benchmarks.served import Served, served
from benchmarks.soak.chaos import all_runs, lines, settled
from elexirion_dagster.operations.rehearsal_server import variables
from elexirion_dagster.rehearsal.play import Play
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer

ATTEMPTS = 3
HARSH = f"""
name: harsh
model: anthropic/claude-sonnet-5-5
inputs: {{mark: {{type: string}}}}
retry: {{max_attempts: {ATTEMPTS}, initial_s: 0.2, max_s: 2}}
steps:
  - {{name: first, type: llm, prompt: "one <{{{{ inputs.mark }}}}>", max_tokens: 200}}
  - name: second
    type: llm
    prompt: "two <{{{{ inputs.mark }}}}> {{{{ steps.first.text }}}}"
    output: {{ok: boolean}}
  - {{name: last, type: llm, prompt: "three {{{{ inputs.mark }}}} {{{{ steps.second.data.ok }}}}", max_tokens: 200}}
fallback:
  - on: [refused, truncated, malformed_output, context_exceeded, auth, unknown]
    change: {{model: gemini/gemini-2.5-flash}}
"""
KINDS: Mapping[str, Mapping[str, object]] = {
    "529": {"kind": "status", "status": 529},
    "500": {"kind": "status", "status": 500},
    "429": {"kind": "status", "status": 429, "retry_after_ms": 50},
    "dropped": {"kind": "reset"},
    "half a stream": {"kind": "cut", "after_events": 2},
    "HTML": {"kind": "html"},
    "bad JSON": {"kind": "malformed"},
    "truncated": {"kind": "truncation"},
    "refused": {"kind": "refusal"},
    "context": {"kind": "status", "status": 400, "message": "prompt is too long: 300000 tokens > 200000 maximum"},
    "401": {"kind": "status", "status": 401},
}
TIMES = dict.fromkeys(("truncated", "refused", "context", "401"), 1)
"""Kinds that a call does not retry."""
BAD_TEXT, CORRECTED = "bad text", 2
"""A step corrects such an answer once."""
STORM = Script.model_validate({"faults": [{"kind": "status", "status": 529}]})
PASSING = ("overloaded", "rate_limited", "timeout", "connection", "worker_lost")
_ASKING = 2
_SETTLED_S = 1500


class Provider:
    """The server that plays the models, and goes away."""

    def __init__(self, script: Script) -> None:
        self.server = RehearsalServer(script).__enter__()
        self._port = int(self.server.base_url.rsplit(":", 1)[1])
        self._play = self.server._play  # noqa: SLF001 - what was played so far outlives the server

    def away(self, seconds: float) -> None:
        """Nobody listens."""
        self.server.__exit__(None, None, None)
        time.sleep(seconds)
        self.server = RehearsalServer(port=self._port)
        self.server._play = self._play  # noqa: SLF001
        self.server.__enter__()

    def storm(self, seconds: float) -> None:
        """Every call gets a 529."""
        self.server._play = Play(STORM)  # noqa: SLF001
        time.sleep(seconds)
        self.server._play = self._play  # noqa: SLF001


def script(runs: int, share: float, dice: random.Random) -> tuple[Script, Counter[str]]:
    """A fault for a share of the runs, in the first or the second step, as often as the step tries itself."""
    faults: list[dict[str, object]] = []
    answers: list[dict[str, object]] = []
    met: Counter[str] = Counter()
    for number in range(runs):
        if dice.random() >= share:
            continue
        kind = dice.choice([*KINDS, BAD_TEXT])
        met[kind] += 1
        if kind == BAD_TEXT:
            answers.append({"match": f"two <{number}>", "text": "neither true nor false", "times": CORRECTED})
        else:
            place = dice.choice(["one", "two"])
            faults.append({**KINDS[kind], "match": f"{place} <{number}>", "times": TIMES.get(kind, ATTEMPTS)})
    answers += [{"match": "two <", "data": {"ok": True}}, {"text": "fine"}]
    return Script.model_validate({"answers": answers, "faults": faults}), met


def launched(up: Served, number: int, pause_s: float) -> str | None:
    """The id of one root run; None where it was refused, which its caller knows."""
    time.sleep(pause_s)
    with suppress(AssertionError, OSError, httpx.TransportError):
        return up.launch("harsh", mark=str(number))
    return None


def blows(provider: Provider, away_s: float) -> None:
    """Two outages with a storm between them."""
    time.sleep(away_s / 2)
    provider.away(away_s)
    time.sleep(away_s / 2)
    provider.storm(away_s * 2 / 3)
    time.sleep(away_s / 2)
    provider.away(away_s)


def main(runs: int, share: float, away_s: float) -> int:
    print(machine())
    played, met = script(runs, share, random.Random(12))  # noqa: S311 - a script, not secrets
    provider = Provider(played)
    with served({"harsh": HARSH}, environ=variables(provider.server.base_url)) as up:
        time.sleep(12)  # the sensors' first look
        begun = time.monotonic()
        with ThreadPoolExecutor(_ASKING + 1) as pool:
            blowing = pool.submit(blows, provider, away_s)
            pause_s = _ASKING * 4 * away_s / runs  # so that most runs meet an outage or a storm
            roots = [run for run in pool.map(lambda one: launched(up, one, pause_s), range(runs)) if run]
            blowing.result()
        print(f"{len(roots)} runs launched and the provider back after {time.monotonic() - begun:.0f} s", flush=True)
        rows = settled(up, _SETTLED_S)
        journal = lines(up)
        code = report(roots, rows or all_runs(up), journal, met)
    provider.server.__exit__(None, None, None)
    print(f"took {time.monotonic() - begun:.0f} s")
    return code


def report(
    roots: list[str], rows: Mapping[str, Mapping[str, Any]], journal: list[dict[str, Any]], met: Counter[str]
) -> int:
    """How the root runs ended; 1 where too many were lost."""
    decided = {line["run"]: line for line in journal if line["kind"] == "recovery"}
    started = {row["tags"].get("dagster/run_key") for row in rows.values()}
    ends: Counter[str] = Counter()
    parked: list[str] = []
    for root in roots:
        mine = {run: row for run, row in rows.items() if row["tags"].get("elexirion/root_run", run) == root}
        last = [decided[run] for run in mine if run in decided]
        waits = [line for line in last if line.get("awaits") and not {one["key"] for one in line["launches"]} & started]
        if any(row["status"] == "SUCCESS" for row in mine.values()):
            ends["succeeded" if len(mine) == 1 else "succeeded after recovery"] += 1
        elif waits:
            ends["a wait is due"] += 1
        else:
            ends["lost"] += 1
            parked += [f"  {line['cause']}: {line['reason']}" for line in last if line["action"] == "park"]
    waits = [line for line in decided.values() if line.get("awaits")]
    plans = Counter((line["cause"], line["action"]) for line in decided.values())
    print(f"faults {dict(met)}; {len(rows)} runs in all; decisions {dict(plans)}")
    print(f"{len(waits)} waits for a provider; ends {dict(ends)}")
    well = sum(count for end, count in ends.items() if end != "lost") / len(roots)
    passed = [line for line in decided.values() if line["action"] == "park" and line["cause"] in PASSING]
    print(f"{well:.1%} succeeded or wait; {len(passed)} were left to a person although their provider came back")
    print("\n".join(parked))
    return 1 if well < 0.99 or passed else 0


if __name__ == "__main__":
    given = [float(word) for word in sys.argv[1:]]
    count, part, away = given + [218.0, 0.55, 60.0][len(given) :]
    sys.exit(main(int(count), part, away))
