"""What a search has measured so far, what it may still ask, and who hears of it. No dspy."""

import json
from collections.abc import Sequence
from statistics import fmean, median

from elexirion_dagster.errors import ElexirionError, InputError
from elexirion_dagster.store.learned.learning import Row
from optimizer_assets.asking.asker import Asker
from optimizer_assets.task import Candidate, Found, How, Iteration, Listen, Measured, Task, Tried

MOST_CHARS = 4_000
"""Longest system text that is written; a longer one that is there already may stay as long."""


class Search:
    """One search over the candidates of a slot: `left` counts the rounds it may still take."""

    def __init__(
        self, task: Task, asker: Asker, train: Sequence[Row], validation: Sequence[Row], listen: Listen
    ) -> None:
        _check(train, validation)
        self.task = task
        self.asker = asker
        self.train = tuple(train)
        self.validation = tuple(validation)
        self.objectives = frozenset(task.settings.objectives)
        self.left = task.settings.budget.iterations
        self.notes: list[str] = []
        self._listen = listen
        self._measured: dict[str, Measured] = {}
        self._iterations: list[Iteration] = []

    @property
    def best(self) -> Measured:
        """The candidate of the highest quality so far; of equals the cheapest, then the first."""
        return max(self._measured.values(), key=lambda one: (one.quality, -(one.cost_usd or 0.0)))

    @property
    def perfect(self) -> bool:
        """Whether quality is all that counts, and there is no more of it to be had."""
        return self.objectives == {"quality"} and self.best.quality >= 1.0

    def room(self, calls: int) -> bool:
        """Whether so many questions more may be asked, with what is kept for the gate left over."""
        return self.asker.room(calls)

    def measure(self, candidate: Candidate, how: How) -> bool:
        """Try a candidate on all validation rows, once; whether it is the best so far."""
        if _key(candidate) in self._measured:
            return False
        return self.add(candidate, self.asker.try_all(candidate, self.validation), how)

    def add(self, candidate: Candidate, found: Sequence[Tried], how: How) -> bool:
        """Take note of a candidate that was tried on all validation rows; whether it is the best so far."""
        measured = measured_of(candidate, found, how)
        rose = not self._measured or measured.quality > self.best.quality
        self._measured.setdefault(_key(candidate), measured)
        self._tell(candidate, measured, how, accepted=rose)
        return rose

    def dropped(self, candidate: Candidate | None, how: How) -> None:
        """Take note of a round whose candidate was not worth a measurement; None: there was none."""
        self._tell(candidate or self.best.candidate, None, how, accepted=False)

    def objective_scores(self, one: Tried) -> dict[str, float]:
        """What counts of an answer, more being better in each."""
        scores = {"quality": one.score}
        if "cost" in self.objectives:
            scores["cost"] = -cost_of(one)
        if "latency" in self.objectives:
            scores["latency"] = -(one.latency_s or 0.0)
        return scores

    def note_unusable(self, unusable: Sequence[str], used: int) -> None:
        """Say how many proposals could not be used. Raises ElexirionError where nothing else was asked for."""
        if not unusable:
            return
        note = f"{len(unusable)} proposals could not be used, {used} could; the last: {unusable[-1][:400]}"
        self.notes.append(note)
        if not used and self.task.settings.optimizer == "gepa":
            raise ElexirionError(
                f"no instruction could be written: {note}",
                cause="malformed_output",
                mend="Name a model under `optimize.model` that can write instructions, or use `optimizer: bootstrap`.",
            )

    def found(self) -> Found:
        """All that was measured and how it came about."""
        measured, iterations = tuple(self._measured.values()), tuple(self._iterations)
        return Found(measured, iterations, self.asker.calls, self.asker.usd, tuple(self.notes))

    def _tell(self, candidate: Candidate, measured: Measured | None, how: How, *, accepted: bool) -> None:
        given = how in ("base", "instructions")
        iteration = Iteration(
            number=0 if given else max((one.number for one in self._iterations), default=0) + 1,
            candidate=candidate,
            validation=None if measured is None else measured.quality,
            best=self.best.quality,
            usd=self.asker.usd,
            calls=self.asker.calls,
            latency_s=None if measured is None else measured.latency_s,
            accepted=accepted,
            how=how,
        )
        self.left -= not given
        self._iterations.append(iteration)
        self._listen(iteration)


def measured_of(candidate: Candidate, found: Sequence[Tried], how: How) -> Measured:
    """The means over rows; the latency is the median, which a slow moment does not move."""
    costs = [one.cost_usd for one in found if one.cost_usd is not None]
    latencies = [one.latency_s for one in found if one.latency_s is not None]
    return Measured(
        candidate=candidate,
        quality=fmean(one.score for one in found),
        cost_usd=fmean(costs) if costs else None,
        latency_s=median(latencies) if latencies else None,
        how=how,
        n=len(found),
    )


def cost_of(one: Tried) -> float:
    """Dollars; tokens where they cost none, which tell the same of one model."""
    return one.cost_usd or one.tokens / 1_000_000


def _key(candidate: Candidate) -> str:
    return json.dumps([candidate.system, candidate.examples], sort_keys=True)


def _check(train: Sequence[Row], validation: Sequence[Row]) -> None:
    """Refuse empty and shared sets: an optimiser would take the one for the other, and say nothing."""
    if not train or not validation:
        which = "training" if not train else "validation"
        raise InputError(
            f"expected rows to learn from and rows to measure on, came no {which} rows",
            mend="Let more runs happen, give them scores (`elexirion feedback`), or add labelled `examples:`.",
        )
    shared = {row.key for row in train} & {row.key for row in validation}
    if shared:
        raise InputError(f"{len(shared)} rows are both learned from and measured on, such as {min(shared)}")
