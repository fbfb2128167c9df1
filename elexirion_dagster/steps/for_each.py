"""Run steps for every item, really in parallel, results in item order."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from elexirion_dagster.calls import Tally
from elexirion_dagster.errors import InputError
from elexirion_dagster.records import Json, StepError, StepResult
from elexirion_dagster.spec.llm import LlmStep
from elexirion_dagster.spec.steps import ForEachStep, inner_steps
from elexirion_dagster.steps.context import StepContext
from elexirion_dagster.steps.sequence import Sequel, run_sequence

_KEY_FIELDS = ("path", "id", "key", "name")
_KEY_CHARS = 200


def run(step: ForEachStep, ctx: StepContext) -> StepResult:
    """Work through the items; `results` holds one record per item: key, item, status, inner steps by name."""
    items = ctx.evaluate(step.items)
    if not isinstance(items, list):
        kind = type(items).__name__
        raise InputError(
            f"items of {ctx.path} must be a list, got {kind}", mend="Refer to a list, such as steps.x.data.files."
        )
    fan_out = _FanOut(step, ctx, items, _keys(step, ctx, items))
    ctx.shared.progress(ctx.path, 0, 0, len(items), _announcement(step, ctx, len(items)))
    size = step.batch_size or max(len(items), 1)
    for start in range(0, len(items), size):
        wave = range(start, min(start + size, len(items)))
        ctx.shared.threads.each(fan_out.work, wave, max_parallel=step.max_parallel)
        if fan_out.stopped:
            break
    fan_out.report()
    return fan_out.result()


def _announcement(step: ForEachStep, ctx: StepContext, count: int) -> str | None:
    """What is said before the first of many model calls: how many items go to which model, at which cost at most."""
    asked = [
        model
        for inner in inner_steps(step)
        if isinstance(inner, LlmStep)
        for model in ctx.shared.pins.models(inner.model)[:1]
    ]
    return f"{count} items go to {asked[0]}, {ctx.shared.ceiling}" if asked and count else None


def _keys(step: ForEachStep, ctx: StepContext, items: Sequence[Json]) -> list[str]:
    """A distinct key per item: the `key` template, else a telling field, else the position; never a secret."""
    seen: Counter[str] = Counter()
    taken: set[str] = set()
    keys = []
    for index, item in enumerate(items):
        wanted = key = ctx.shared.redactor.text(_key(step, ctx, index, item))[:_KEY_CHARS]
        while key in taken:
            seen[wanted] += 1
            key = f"{wanted}#{seen[wanted] + 1}"
        taken.add(key)
        keys.append(key)
    return keys


def _key(step: ForEachStep, ctx: StepContext, index: int, item: Json) -> str:
    if step.key is not None:
        return ctx.shared.engine.render(
            step.key, {**ctx.scope, step.as_: item, "loop": {"index0": index, "index": index + 1}}
        )
    if isinstance(item, Mapping):
        named = next((item[name] for name in _KEY_FIELDS if isinstance(item.get(name), str | int)), index)
        return str(named)
    return item if isinstance(item, str) else str(index)


@dataclass(slots=True)
class _FanOut:
    """The items of one for_each while they are worked on."""

    step: ForEachStep
    ctx: StepContext
    items: list[Json]
    keys: list[str]
    entries: dict[int, Json] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    errors: list[StepError] = field(default_factory=list)
    reasons: Counter[str | None] = field(default_factory=Counter)
    spent: Tally = field(default_factory=Tally)
    shown: Mapping[str, Json] = field(default_factory=dict)
    """The first model call that was made, for people to look at."""
    done: int = 0
    stopped: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def work(self, index: int) -> None:
        """Run the inner steps for one item, unless an earlier failure has ended the whole."""
        if self.stopped:
            return
        key, item = self.keys[index], self.items[index]
        loop = {"index": index + 1, "index0": index, "length": len(self.items), "key": key}
        scope = {**self.ctx.scope, self.step.as_: item, "loop": loop}
        sequel = run_sequence(self.step.steps, self.ctx, suffix=f"[{key}]", scope=scope)
        kept = self.ctx.shared.redactor.tree(item)
        with self.lock:
            self._take(index, kept, sequel)
        self.report()

    def _take(self, index: int, item: Json, sequel: Sequel) -> None:
        entry = {**sequel.views, "key": self.keys[index], "item": item, "status": sequel.status}
        if sequel.status != "failed" or self.step.on_error != "skip":
            self.entries[index] = entry
        self.counts[sequel.status] += 1
        self.done += 1
        if sequel.shown and not self.shown:
            self.shown = {**sequel.shown, "shown_item": self.keys[index]}
        if sequel.usage is not None:
            self.spent.add(sequel.cost_usd, sequel.usage)
        if sequel.error is not None:
            self.errors.append(sequel.error)
            self.stopped = self.stopped or self.step.on_error == "fail"
        if sequel.status == "skipped":
            self.reasons[sequel.reason] += 1

    def report(self) -> None:
        """Tell how far it is; whoever listens thins it out."""
        self.ctx.shared.progress(self.ctx.path, self.done, self.counts["failed"], len(self.items), None)

    def result(self) -> StepResult:
        """The whole: failed when an item's failure counts or all failed, skipped when every item was."""
        results = [self.entries[index] for index in sorted(self.entries)]
        total = len(self.items)
        words = ("succeeded", "degraded", "skipped", "failed")
        data = {"items": total, **{word: self.counts[word] for word in words}}
        done = StepResult("succeeded", data=data, results=results, metadata=self.shown)
        if self.spent.attempts:
            done = replace(done, cost_usd=self.spent.cost_usd, usage=self.spent.usage)
        return self._judged(done, total)

    def _judged(self, done: StepResult, total: int) -> StepResult:
        failed, skipped = self.counts["failed"], self.counts["skipped"]
        if failed and (self.step.on_error == "fail" or failed == total - skipped):
            cause = Counter(error.cause for error in self.errors).most_common(1)[0][0]
            first = next(error for error in self.errors if error.cause == cause)
            message = f"{failed} of {total} items failed; the first with {first.message}"
            return replace(done, status="failed", error=StepError(cause, message, first.mend))
        if total and skipped == total:
            return replace(done, status="skipped", reason=self.reasons.most_common(1)[0][0])
        if self.counts["degraded"]:
            return replace(
                done, status="degraded", reason=f"{self.counts['degraded']} of {total} items used a fallback answer"
            )
        return done
