"""Run steps for every item, really in parallel, results in item order."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from elexirion_dagster.errors import InputError
from elexirion_dagster.records import Json, StepResult
from elexirion_dagster.spec.llm import LlmStep
from elexirion_dagster.spec.steps import ForEachStep, inner_steps
from elexirion_dagster.steps.context import Item, StepContext
from elexirion_dagster.steps.gathered import Gathered
from elexirion_dagster.steps.part import is_split
from elexirion_dagster.steps.sequence import run_sequence

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
    mine = ctx.shared.part.of(len(items)) if ctx.shared.part and is_split(step, ctx.path) else range(len(items))
    ctx.shared.progress(ctx.path, 0, 0, len(mine), _announcement(step, ctx, len(mine)))
    size = step.batch_size or max(len(mine), 1)
    for start in range(0, len(mine), size):
        wave = mine[start : start + size]
        ctx.shared.threads.each(fan_out.work, wave, max_parallel=step.max_parallel)
        if fan_out.gathered.stopped:
            break
    fan_out.report()
    return fan_out.gathered.whole({"items": len(mine)}, total=len(mine))


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


class _FanOut:
    """The items of one for_each while they are worked on."""

    def __init__(self, step: ForEachStep, ctx: StepContext, items: list[Json], keys: list[str]) -> None:
        self._step = step
        self._ctx = ctx
        self._items = items
        self._keys = keys
        self._lock = threading.Lock()
        self.gathered = Gathered(step.on_error, "items")

    def work(self, index: int) -> None:
        """Run the inner steps for one item, unless an earlier failure has ended the whole."""
        if self.gathered.stopped:
            return
        key, item = self._keys[index], self._items[index]
        loop = {"index": index + 1, "index0": index, "length": len(self._items), "key": key}
        scope = {**self._ctx.scope, self._step.as_: item, "loop": loop}
        ctx = replace(self._ctx, item=Item.within(self._ctx.item, key, item))
        sequel = run_sequence(self._step.steps, ctx, suffix=f"[{key}]", scope=scope)
        entry = {"key": key, "item": self._ctx.shared.redactor.tree(item)}
        with self._lock:
            self.gathered.take(index, entry, sequel, label=key)
        self.report()

    def report(self) -> None:
        """Tell how far it is; whoever listens thins it out."""
        self._ctx.shared.progress(
            self._ctx.path, self.gathered.done, self.gathered.counts["failed"], len(self._items), None
        )
