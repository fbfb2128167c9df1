"""What the items or turns of a composite came to, and what the whole comes to by that."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from elexirion_dagster.calls import Tally
from elexirion_dagster.records import Json, StepError, StepResult
from elexirion_dagster.spec.steps import OnError
from elexirion_dagster.steps.sequence import Sequel

_STATUSES = ("succeeded", "degraded", "skipped", "failed")


@dataclass(slots=True)
class Gathered:
    """The parts so far; whoever takes from several threads holds a lock. `word` says what a part is called."""

    on_error: OnError
    word: Literal["items", "turns"]
    entries: dict[int, Json] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    errors: list[StepError] = field(default_factory=list)
    reasons: Counter[str | None] = field(default_factory=Counter)
    spent: Tally = field(default_factory=Tally)
    shown: Mapping[str, Json] = field(default_factory=dict)
    """The first model call that was made, for people to look at."""
    done: int = 0
    stopped: bool = False
    """Whether a failure has ended the whole."""

    def take(self, index: int, entry: Mapping[str, Json], sequel: Sequel, *, label: str) -> None:
        """Add one part; `entry` is what the results keep of it besides status and steps, `label` how it is shown."""
        if sequel.status != "failed" or self.on_error != "skip":
            self.entries[index] = {**sequel.views, **entry, "status": sequel.status}
        self.counts[sequel.status] += 1
        self.done += 1
        if sequel.shown and not self.shown:
            self.shown = {**sequel.shown, "shown_item": label}
        if sequel.usage is not None:
            self.spent.add(sequel.cost_usd, sequel.usage)
        if sequel.error is not None:
            self.errors.append(sequel.error)
            self.stopped = self.stopped or self.on_error == "fail"
        if sequel.status == "skipped":
            self.reasons[sequel.reason] += 1

    def whole(self, data: Mapping[str, Json], *, total: int) -> StepResult:
        """The result over `total` parts: `data` and how many came out how, costs as far as they were measured."""
        results = [self.entries[index] for index in sorted(self.entries)]
        counted = {**data, **{status: self.counts[status] for status in _STATUSES}}
        done = StepResult("succeeded", data=counted, results=results, metadata=self.shown)
        if self.spent.attempts:
            done = replace(done, cost_usd=self.spent.cost_usd, usage=self.spent.usage)
        return self._judged(done, total)

    def _judged(self, done: StepResult, total: int) -> StepResult:
        """Failed when a part's failure counts or all failed, skipped when every part was."""
        failed, skipped, degraded = self.counts["failed"], self.counts["skipped"], self.counts["degraded"]
        if failed and (self.on_error == "fail" or failed == total - skipped):
            cause = Counter(error.cause for error in self.errors).most_common(1)[0][0]
            first = next(error for error in self.errors if error.cause == cause)
            message = f"{failed} of {total} {self.word} failed; the first with {first.message}"
            return replace(done, status="failed", error=StepError(cause, message, first.mend))
        if total and skipped == total:
            return replace(done, status="skipped", reason=self.reasons.most_common(1)[0][0])
        if degraded:
            return replace(done, status="degraded", reason=f"{degraded} of {total} {self.word} used a fallback answer")
        return done
