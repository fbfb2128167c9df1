"""How often the gate promotes what is no better, and how seldom it misses what is, over repeated tries on one slot.

`python -m benchmarks.honesty` sends simulated answers through the shipped gate and ends with 1 when more than 5 % of
the slots ever promote a candidate of the same true quality within ten tries, or when fewer than 90 % promote one that
is truly 20 points better at their first try, 100 rows in the holdout.

The base is asked once per slot, as in life, so that its luck stays for all tries. `mixed` rows: of 100, the better
candidate mends 26 and breaks 6. `drawn` rows: each has a chance of its own, and both prompts draw anew.
"""

import math
import os
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from benchmarks.machine import machine
from elexirion_dagster.redact import Redactor
from elexirion_dagster.spec.learning import Optimize
from elexirion_dagster.spec.llm import LlmStep
from elexirion_dagster.store.learned.learning import Row
from elexirion_dagster.store.registry.attempts import Attempt
from optimizer_assets.proving.gate import Verdict, judge_candidate
from optimizer_assets.proving.spending import share
from optimizer_assets.scoring.metrics import exact
from optimizer_assets.task import Candidate, Task, Tried

SLOTS, ROWS, FEW_ROWS, TRIES, BASE, GAIN = 200, 100, 30, 10, 0.6, 0.2
MOST_FALSE, FEWEST_TRUE = 0.05, 0.9
SPREAD = 0.8
CHANGED, BROKEN = 0.1, 0.06
PROCESSES = 2

Draw = Callable[[random.Random, list[float], list[float], float], list[float]]
"""The candidate's scores from the rows' difficulties, the base's scores and the true gain."""


def drawn(chance: random.Random, levels: list[float], _: list[float], gain: float) -> list[float]:
    """Right or wrong, by each row's own chance, moved by the gain."""
    return [float(chance.random() < _moved(level, gain)) for level in levels]


def mixed(chance: random.Random, _: list[float], base: list[float], gain: float) -> list[float]:
    """Most answers stay; some rows are mended, some broken: equally many (in the mean) without a gain."""
    broken = BROKEN if gain else CHANGED
    lose, win = broken / BASE, (broken + gain) / (1 - BASE)
    return [1 - score if chance.random() < (lose if score else win) else score for score in base]


def graded(chance: random.Random, levels: list[float], _: list[float], gain: float) -> list[float]:
    """Scores between 0 and 1, each off by its own noise."""
    return [min(max(_moved(level, gain) + chance.uniform(-0.25, 0.25), 0.0), 1.0) for level in levels]


KINDS: dict[str, Draw] = {"mixed": mixed, "drawn": drawn, "graded": graded}


@dataclass(frozen=True)
class Setting:
    """One simulated slot: which kind of rows, how many, the true gain, and the tries (1-based) it is put to."""

    kind: str
    rows: int
    gain: float
    tries: tuple[int, ...]


def main() -> int:
    print(machine(), f"load {os.getloadavg()[0]:.1f}", sep=", ")
    print(f"{SLOTS} slots each; true base quality {BASE:.0%}; 95 % intervals (Clopper-Pearson)")
    started = time.perf_counter()
    with ProcessPoolExecutor(PROCESSES) as pool:
        good = [_false(pool, kind, rows) for rows in (ROWS, FEW_ROWS) for kind in KINDS]
        good += [_true(pool, kind) for kind in KINDS]
    print(f"{time.perf_counter() - started:.0f} s")
    return 0 if all(good) else 1


def _false(pool: ProcessPoolExecutor, kind: str, rows: int) -> bool:
    found = pool.map(_passed, [Setting(kind, rows, 0.0, tuple(range(1, TRIES + 1)))] * SLOTS, range(SLOTS))
    hits = sum(any(tries) for tries in found)
    what = "promoted" if rows == ROWS else "tried out"
    print(f"no gain,   {kind:6}, {rows:3} rows: {what} at any of {TRIES} tries in {_share(hits)}", flush=True)
    return hits <= MOST_FALSE * SLOTS


def _true(pool: ProcessPoolExecutor, kind: str) -> bool:
    tries = (1, 5, TRIES)
    found = list(pool.map(_passed, [Setting(kind, ROWS, GAIN, tries)] * SLOTS, range(SLOTS)))
    hits = [sum(column) for column in zip(*found, strict=True)]
    for number, count in zip(tries, hits, strict=True):
        print(f"20 points, {kind:6}, {ROWS:3} rows: promoted at try {number:2} in {_share(count)}", flush=True)
    return hits[0] >= FEWEST_TRUE * SLOTS


def _passed(setting: Setting, seed: int) -> list[bool]:
    """For each of the tries, the ones before it having failed, whether the gate puts the candidate to use."""
    chance = random.Random(f"{setting} {seed}")  # noqa: S311 - a simulation
    rows = [
        Row(f"row-{seed}-{at}", {"inputs.text": f"text {at}"}, None, "x", None, None, "label", f"{at}")
        for at in range(setting.rows)
    ]
    levels = [chance.betavariate(BASE * SPREAD, (1 - BASE) * SPREAD) for _ in rows]
    first = graded if setting.kind == "graded" else drawn
    base = first(chance, levels, [], 0.0)
    asked = _tried(chance, rows, base)
    found = []
    for number in setting.tries:
        new = _tried(chance, rows, KINDS[setting.kind](chance, levels, base, setting.gain))
        earlier = [_attempt(before, len(rows)) for before in range(1, number)]
        found.append(_judged(asked, new, earlier).outcome != "keep")
    return found


def _judged(base: list[Tried], new: list[Tried], earlier: list[Attempt]) -> Verdict:
    task = Task(
        pipeline="honesty",
        step="ask",
        spec=LlmStep(name="ask", type="llm", prompt="{{ inputs.text }}"),
        models=(),
        teachers=(),
        settings=Optimize(objectives=("quality", "cost", "latency")),
        metric=exact,
        base=Candidate("Answer."),
        base_hash="base",
    )
    return judge_candidate(
        task, Candidate("Answer well."), base, new, again=new, train=(), earlier=earlier, redactor=Redactor()
    )


def _tried(chance: random.Random, rows: list[Row], scores: list[float]) -> list[Tried]:
    """Answers whose length, price and time differ by chance only."""
    made = []
    for row, score in zip(rows, scores, strict=True):
        tokens = round(200 * chance.lognormvariate(0, 0.3))
        seconds = chance.lognormvariate(0, 0.5)
        made.append(Tried(row, score, "", "x", tokens * 1e-5, seconds, tokens, None))
    return made


def _attempt(number: int, rows: int) -> Attempt:
    """A try that did not pass; on the same slot, so whatever its holdout is called it counts."""
    return Attempt("", "base", "", rows, 0.5, share(number), passed=False)


def _moved(level: float, gain: float) -> float:
    """A row's chance after a true gain: what is missing to 1 shrinks in the same ratio for every row."""
    return 1 - (1 - level) * (1 - gain / (1 - BASE))


def _share(hits: int) -> str:
    low, high = (_bound(hits, SLOTS, upper=upper) for upper in (False, True))
    return f"{hits}/{SLOTS} = {hits / SLOTS:.1%} ({low:.1%} to {high:.1%})"


def _bound(hits: int, of: int, *, upper: bool) -> float:
    """One end of the exact 95 % interval of a share, by halving."""
    if hits == (of if upper else 0):
        return float(upper)
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        at_most = math.fsum(
            math.comb(of, k) * middle**k * (1 - middle) ** (of - k) for k in range(hits + (1 if upper else 0))
        )
        too_low = at_most > 0.025 if upper else 1 - at_most < 0.025
        low, high = (middle, high) if too_low else (low, middle)
    return (low + high) / 2


if __name__ == "__main__":
    sys.exit(main())
