"""ONE step: reuse a finished result, dispatch, retry, time, record."""

import hashlib
import json
import logging
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from elexirion_dagster.errors import Cancelled, ElexirionError, StorageError
from elexirion_dagster.records import Json, StepResult
from elexirion_dagster.recovery.asked import NO_RECOVERY, Recovery
from elexirion_dagster.spec.changes import changed_step
from elexirion_dagster.spec.children import NO_PIPELINES, Pipelines, reached
from elexirion_dagster.spec.llm import LlmStep
from elexirion_dagster.spec.references import Chain
from elexirion_dagster.spec.steps import Step, asks_model, is_composite
from elexirion_dagster.steps.answers.fallback import stood_in
from elexirion_dagster.steps.catalog import RUNNERS
from elexirion_dagster.steps.context import StepContext, View
from elexirion_dagster.steps.files import write_text
from elexirion_dagster.steps.part import is_split
from elexirion_dagster.steps.sequence import add_costs, add_usage
from elexirion_dagster.store.replay import Replay

_log = logging.getLogger(__name__)
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=repr)
_NOT_WORK = {"name", "description", "needs", "timeout_s", "retry", "optimize", "sandbox", "network"}
"""Keys of a step that change nothing of what it does; how its prompt is to be improved is among them."""


class Runner:
    """Runs steps and their inner steps for one run, reusing what the journal knows.

    `model` is the model a user chose for this run in place of the pipeline's: another choice is other work for every
    step that asks one. `pipelines` are those that pipeline steps may run. What a `recovery` changes is no other work:
    what finished before it, or in it, counts as finished; but half of a top-level for_each's items is.
    """

    def __init__(
        self,
        replay: Replay,
        *,
        model: str | None = None,
        pipelines: Pipelines = NO_PIPELINES,
        recovery: Recovery = NO_RECOVERY,
    ) -> None:
        self._replay = replay
        self._pipelines = pipelines
        self._model = model or ""
        self._recovery = recovery
        self._changed: dict[int, tuple[Step, Step]] = {}
        self._definitions: dict[int, tuple[Step, bytes]] = {}

    def __call__(self, step: Step, ctx: StepContext) -> StepResult:
        """Run one step. A failure becomes a failed result with a cause; only Cancelled and StorageError are raised."""
        started, begun = datetime.now(UTC), time.monotonic()
        work = self._as_changed(step)
        timed = ctx if work.timeout_s is None else replace(ctx, deadline=_deadline(work.timeout_s, ctx.deadline))
        here = timed.under(work.budget)
        digest = input_hash(self._definition(step, ctx), ctx.shared.references.of(step), ctx.scope)
        known = self._replay.step(ctx.path, digest)
        if known is not None:
            return replace(known, metadata={**known.metadata, "reused": True})
        result = replace(_guarded(work, here), duration_s=round(time.monotonic() - begun, 6))
        ctx.shared.journal.append(
            "step",
            durable="." not in ctx.path,
            later=isinstance(step, LlmStep),
            path=ctx.path,
            step=step.name,
            step_type=step.type,
            status=result.status,
            input_hash=digest,
            result={**result.to_json(), "metadata": {}},
            started_at=started.isoformat(),
            duration_s=result.duration_s,
            attempts=result.metadata.get("step_attempts", 1),
        )
        return result

    def _definition(self, step: Step, ctx: StepContext) -> bytes:
        """What the step is, as bytes; made once per step."""
        if id(step) not in self._definitions:
            text = step.model_dump_json(by_alias=True, exclude=_NOT_WORK)
            text += self._model if asks_model(step) else ""
            text += str(self._recovery.part) if self._recovery.part and is_split(step, ctx.path) else ""
            self._definitions[id(step)] = (step, (text + self._inside(step, ctx)).encode())
        return self._definitions[id(step)][1]

    def _as_changed(self, step: Step) -> Step:
        """The step as it is run in this recovery; made once per step."""
        change = self._recovery.change
        if change is None:
            return step
        if id(step) not in self._changed:
            self._changed[id(step)] = (step, changed_step(step, change))
        return self._changed[id(step)][1]

    def _inside(self, step: Step, ctx: StepContext) -> str:
        """The documents of the pipelines that a step may run, and a digest of the environment that they read."""
        found = reached([step], self._pipelines).values()
        env = [sorted(ctx.shared.pins.env(pipeline).items()) for pipeline in found]
        digest = hashlib.sha256(json.dumps(env).encode()).hexdigest() if any(env) else ""
        return "".join(pipeline.model_dump_json(by_alias=True) for pipeline in found) + digest


def _deadline(timeout_s: float, outer: float | None) -> float:
    own = time.monotonic() + timeout_s
    return own if outer is None else min(own, outer)


def _guarded(step: Step, ctx: StepContext) -> StepResult:
    """The step's result; what it raises becomes a failed result."""
    try:
        return _tried(step, ctx)
    except (Cancelled, StorageError):
        raise
    except ElexirionError as error:
        return _failure(ctx, error)
    except RecursionError as error:
        return _failure(ctx, ElexirionError(f"values are nested too deeply: {error}", cause="bad_input"))
    except Exception as error:  # noqa: BLE001 - a step of a run must not take the run along
        _log.error("step %s raised\n%s", ctx.path, ctx.shared.redactor.text(traceback.format_exc()))
        return _failure(ctx, ElexirionError(f"{type(error).__name__}: {error}", cause="unknown"))


def _failure(ctx: StepContext, error: ElexirionError) -> StepResult:
    return StepResult("failed", error=ctx.told(error))


def _tried(step: Step, ctx: StepContext) -> StepResult:
    """Run the step unless its condition is false, again as its `retry` says, and write its output file."""
    ctx.go_on()
    if not _wanted(step, ctx):
        return StepResult("skipped", reason=f"when is false: {step.when}")
    earlier: list[StepResult] = []
    while True:
        result = _once(step, ctx)
        wait_s = _wait_s(step, ctx, result, len(earlier) + 1)
        earlier.append(result)
        if wait_s is None:
            if len(earlier) > 1:
                tried = {**result.metadata, "step_attempts": len(earlier)}
                result = replace(result, cost_usd=add_costs(earlier), usage=add_usage(earlier), metadata=tried)
            return _with_file(step, ctx, stood_in(step, ctx, result))
        if ctx.shared.cancelled.wait(wait_s):
            raise Cancelled


def _once(step: Step, ctx: StepContext) -> StepResult:
    """One attempt; what it raises becomes a failed result."""
    try:
        return RUNNERS[step.type](step, ctx)
    except (Cancelled, StorageError):
        raise
    except ElexirionError as error:
        return _failure(ctx, error)


def _wait_s(step: Step, ctx: StepContext, result: StepResult, attempt: int) -> float | None:
    """Seconds until the whole step is tried again; None when it is not: wrong cause, too often, too late.

    A composite is never repeated, its parts have been one by one: to do them all again would be to pay again for those
    that came out well.
    """
    retry = step.retry or ctx.shared.retry
    if result.error is None or result.error.cause not in retry.on or attempt >= retry.max_attempts:
        return None
    if is_composite(step) or not step.may_repeat(result.error.cause):
        return None
    wait_s = retry.wait_s(attempt)
    late = ctx.deadline is not None and time.monotonic() + wait_s >= ctx.deadline
    return None if late else wait_s


def _wanted(step: Step, ctx: StepContext) -> bool:
    return step.when if isinstance(step.when, bool) else ctx.shared.engine.condition(step.when, ctx.scope)


def _with_file(step: Step, ctx: StepContext, result: StepResult) -> StepResult:
    """Write `output_to`; its path joins the metadata."""
    if step.output_to is None or result.status not in ("succeeded", "degraded"):
        return result
    text = result.text if result.text is not None else json.dumps(result.data, ensure_ascii=False, indent=2)
    path = write_text(ctx, ctx.render(step.output_to), text)
    return replace(result, metadata={**result.metadata, "output_to": path})


def input_hash(definition: bytes, chains: Sequence[Chain], scope: Mapping[str, Json]) -> str:
    """SHA-256 over a step's definition and every value its templates refer to: equal hash, equal work."""
    digest = hashlib.sha256(definition)
    for chain in chains:
        digest.update(f"\n{'.'.join(chain)}={_value_digest(chain, scope)}".encode())
    return digest.hexdigest()


def _value_digest(chain: Chain, scope: Mapping[str, Json]) -> str:
    """Digest of what a chain leads to; parts of a step's result are digested once and remembered there."""
    if chain[0] == "run":
        return "run"
    value: Json = scope
    owner: View | None = None
    rest: tuple[str, ...] = ()
    for index, name in enumerate(chain):
        if not isinstance(value, Mapping) or name not in value:
            break
        value = value[name]
        if isinstance(value, View):
            owner, rest = value, chain[index + 1 :]
    if owner is not None and rest in owner.digests:
        return owner.digests[rest]
    text = _ENCODER.encode(value)
    found = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    if owner is not None:
        owner.digests[rest] = found
    return found
