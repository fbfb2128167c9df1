"""How fast a search for a better prompt converges on a scripted task, beside plain dspy on the same rows and seeds.

`python -m benchmarks.convergence [SEEDS]` ends with 1 when fewer than 90 % of the seeds are there in < 10 iterations.

The model is scripted, so the figures are about the search (rounds, calls), not about how good real prompts get. An
iteration is one round: at most three proposals from different rows of which at most one is measured on all validation
rows, or one set of examples. Plain GEPA's iterations are its own: one proposal each.
"""

import contextlib
import io
import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import scripted
from benchmarks.machine import machine
from elexirion_dagster.expressions import Engine
from elexirion_dagster.providers.catalog import ModelRef
from elexirion_dagster.redact import Redactor
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.learning import Optimize
from optimizer_assets.asking.asker import Asker
from optimizer_assets.scoring.metrics import metric_of
from optimizer_assets.searching.optimizers import optimise
from optimizer_assets.task import Candidate, Task

SEEDS, ROWS, NEAR, GOAL, GOAL_SHARE = 20, 30, 0.01, 10, 0.9
UNLIMITED = {"usd": 5.0, "calls": 100_000}


@dataclass(frozen=True)
class Convergence:
    """One search: the best validation score after each iteration (0: the base), and the calls until then."""

    best: tuple[float, ...]
    calls: int
    ceiling: float
    unshared: int | None = None
    """Calls without our channel, which asks equal questions once: what plain dspy pays."""

    @property
    def settled(self) -> int:
        """Iterations until within NEAR of its own final score."""
        return next(number for number, score in enumerate(self.best) if score >= self.best[-1] - NEAR)

    @property
    def arrived(self) -> float:
        """Iterations until within NEAR of what the task allows at all; infinite where it never was."""
        return next((number for number, score in enumerate(self.best) if score >= self.ceiling - NEAR), inf)


def task_of(settings: Optimize) -> Task:
    step = scripted.step()
    models = (ModelRef("fake", "scripted"),)
    metric = metric_of(settings, Engine(), None)
    return Task("rehearsed", step.name, step, models, models, settings, metric, Candidate(step.system), "base")


@contextlib.contextmanager
def asking(seed: int, settings: Optimize) -> Any:
    rows = scripted.rows(2 * ROWS, seed)
    with tempfile.TemporaryDirectory() as home:
        model, where = scripted.ScriptedModel(seed=seed), Settings(home=Path(home))
        task = task_of(settings)
        with Asker(task, where, rows, redactor=Redactor(), opened={"fake": model}, seed=seed) as asker:
            yield task, asker, rows[:ROWS], rows[ROWS:], model


def ours(seed: int, optimizer: str) -> Convergence:
    with asking(seed, Optimize(optimizer=optimizer)) as (task, asker, train, validation, _):
        found = optimise(task, asker, train, validation, lambda _: None)
    best = {one.number: one.best for one in found.iterations}
    return Convergence(tuple(best[number] for number in sorted(best)), found.calls, ceiling(seed, validation))


def gepa_light(seed: int) -> Convergence:
    import dspy  # noqa: PLC0415 - 2,000 ms

    from optimizer_assets.searching.engine import instructing  # noqa: PLC0415 - 2,000 ms
    from optimizer_assets.searching.programs import StepProgram, quiet  # noqa: PLC0415 - 2,000 ms

    best: list[float] = []

    class Watch:
        def on_valset_evaluated(self, event: Any) -> None:
            best.append(max([event["average_score"], *best[-1:]]))

        def on_iteration_end(self, event: Any) -> None:
            if len(best) <= event["iteration"]:
                best.append(best[-1])

    asked = count()

    def metric(_row: Any, prediction: Any, _trace: Any = None, name: Any = None, _inner: Any = None) -> Any:
        if name is None:
            next(asked)
        return dspy.Prediction(score=prediction.tried.score, feedback=prediction.tried.feedback)

    with asking(seed, Optimize(budget=UNLIMITED)) as (task, asker, train, validation, model):
        program = StepProgram(asker, task.base)
        gepa = dspy.GEPA(
            metric,
            auto="light",
            reflection_lm=instructing(asker),
            num_threads=1,
            seed=seed,
            gepa_kwargs={"callbacks": [Watch()]},
        )
        with quiet(), silent():
            gepa.compile(program, trainset=examples(train), valset=examples(validation))
    return Convergence(tuple(best), asker.calls, ceiling(seed, validation), next(asked) + model.written)


def bootstrap_rs(seed: int) -> Convergence:
    import dspy  # noqa: PLC0415 - 2,000 ms

    from optimizer_assets.searching.programs import StepProgram, quiet  # noqa: PLC0415 - 2,000 ms

    asked = count()

    def metric(_row: Any, prediction: Any, _trace: Any = None) -> float:
        next(asked)
        return float(prediction.tried.score)

    with asking(seed, Optimize(budget=UNLIMITED)) as (task, asker, train, validation, _), silent():
        program = StepProgram(asker, task.base)
        search = dspy.BootstrapRS(
            metric,
            metric_threshold=1.0,
            max_labeled_demos=0,
            num_candidate_programs=16,
            num_threads=1,
        )
        shuffled = random.Random(seed).sample(train, len(train))  # noqa: S311 - the same every time is what is wanted
        with quiet():
            found = search.compile(program, trainset=examples(shuffled), valset=examples(validation))
        scores = {one["seed"]: one["score"] / 100 for one in found.candidate_programs}
        best = [max(scores[key] for key in scores if key <= number) for number in sorted(scores)]
    return Convergence(tuple(best), asker.calls, ceiling(seed, validation), next(asked))


def ceiling(seed: int, rows: Any) -> float:
    return scripted.ScriptedModel(seed=seed).ceiling(rows)


def examples(rows: Any) -> list[Any]:
    import dspy  # noqa: PLC0415 - 2,000 ms

    return [dspy.Example(row=row, answer=row.expected).with_inputs("row") for row in rows]


@contextlib.contextmanager
def silent() -> Any:
    """Dspy prints and shows bars."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


SEARCHES: dict[str, Callable[[int], Convergence]] = {
    "auto": lambda seed: ours(seed, "auto"),
    "gepa": lambda seed: ours(seed, "gepa"),
    "bootstrap": lambda seed: ours(seed, "bootstrap"),
    'dspy.GEPA(auto="light")': gepa_light,
    "dspy.BootstrapRS(16)": bootstrap_rs,
}


def main(seeds: int) -> int:
    print(machine())
    print(f"{seeds} seeds, {ROWS} + {ROWS} rows; within {NEAR:.0%} of the final score, and of what the task allows")
    found = {name: [search(seed) for seed in range(seeds)] for name, search in SEARCHES.items()}
    for name, runs in found.items():
        finals, bases, calls = zip(*((one.best[-1], one.best[0], one.calls) for one in runs), strict=True)
        print(f"{name:<24} {shown('final', [one.settled for one in runs])}")
        print(f"{'':<24} {shown('ceiling', [one.arrived for one in runs])}")
        alone = [one.unshared for one in runs if one.unshared is not None]
        unshared = f", {median(alone):g} (max {max(alone)}) without our channel" if alone else ""
        print(
            f"{'':<24} calls {median(calls):g} (max {max(calls)}){unshared}; "
            f"score {median(bases):.2f} -> {median(finals):.2f} (min {min(finals):.2f})"
        )
    return 0 if sum(one.arrived < GOAL for one in found["auto"]) >= GOAL_SHARE * seeds else 1


def shown(what: str, iterations: list[float]) -> str:
    fast = sum(number < GOAL for number in iterations)
    return f"{what}: < {GOAL} in {fast} of {len(iterations)}, median {median(iterations):g}, max {max(iterations):g};"


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else SEEDS))
