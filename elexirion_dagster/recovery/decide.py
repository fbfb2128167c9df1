"""From a failure to a plan: the pipeline's rules in order, else the default policy, within the bounds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from elexirion_dagster.dialects.load import Loaded
from elexirion_dagster.errors import CAUSES, Cause, ElexirionError
from elexirion_dagster.inputs import complete_inputs
from elexirion_dagster.records import Json
from elexirion_dagster.recovery.asked import Recovery, least
from elexirion_dagster.recovery.bounds import MOST_LOSSES, counted, loss_pause_s, losses_in_row, most_recoveries
from elexirion_dagster.recovery.derive import derived
from elexirion_dagster.recovery.outage import Look, Outage, most_wait_s, outage, waited_s
from elexirion_dagster.recovery.plan import KEY_TAG, RECOVER, Action, Failed, Launch, Plan, as_tag
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.changes import Change
from elexirion_dagster.spec.children import pipeline_hash
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.steps import ForEachStep
from elexirion_dagster.spec.triggers import Fallback
from elexirion_dagster.steps.part import Part
from elexirion_dagster.store.failures.recoveries import Past
from elexirion_dagster.tags import (
    CEILING_TAG,
    CHANGE_TAG,
    LANE,
    MODEL_TAG,
    NO_MODEL,
    PART_TAG,
    PIPELINE_TAG,
    REASON_TAG,
    RECOVERED,
    RECOVERY_TAG,
    ROOT_PIPELINE_TAG,
    ROOT_RUN_TAG,
    TRIGGER_TAG,
)

CONTINUED: tuple[Cause, ...] = ("overloaded", "rate_limited", "timeout", "connection", "worker_lost")
"""Causes after which a run is continued as it was, where no rule says otherwise: what failed may be well again."""
_LOSSES_UNCHANGED = 3
"""So many losses of workers are met by going on as it was, before smaller waves are tried."""
PAUSE_S, LONGEST_PAUSE_S = 10.0, 900.0
"""How long `wait` pauses where the server gave no hint, and at most."""
_REASON_CHARS = 200
Find = Callable[[str], Loaded]
"""The pipeline of this name as it is now. Raises ElexirionError."""


class ParkedError(ElexirionError):
    """Why nothing more is done by itself, as a report for a person."""


@dataclass(frozen=True, slots=True)
class Situation:
    """A failure with what is known around it."""

    failed: Failed
    loaded: Loaded
    past: Past
    find: Find
    settings: Settings
    now: float
    look: Look

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline that failed."""
        return self.loaded.pipeline

    @property
    def recovery(self) -> Recovery:
        """What the failed run was itself asked as a recovery."""
        return Recovery.from_tags(self.failed.tags)


def decide(
    failed: Failed, past: Past, *, find: Find, settings: Settings, now: float, look: Look = lambda _: None
) -> Plan:
    """What to do about a failure; `look` knows which models take no calls. What needs a person is a plan to park."""
    try:
        loaded = as_it_stood(failed, past, find)
        at = Situation(failed, loaded, past, find, settings, now, look)
        plan = _paused(at, _chosen(at))
        _check_bound(plan, at)
    except ElexirionError as error:
        return Plan("park", str(error))
    return plan


def as_it_stood(failed: Failed, past: Past, find: Find) -> Loaded:
    """The pipeline, if it still is what the run began with; a run that never began has no version."""
    try:
        loaded = find(failed.pipeline)
    except ElexirionError as error:
        raise ParkedError(f"the pipeline {failed.pipeline} cannot be used any more: {error}") from error
    began_with = past.hashes.get(failed.run)
    if began_with is not None and began_with != pipeline_hash(loaded.pipeline, loaded.pipelines):
        raise ParkedError(
            f"{failed.pipeline} was changed since the run began, so that its rules are not those of the run",
            mend="Look at the change, then start a new run.",
        )
    return loaded


def _check_bound(plan: Plan, at: Situation) -> None:
    """Raises ParkedError when the plan would start more runs than may be. A wait for a provider counts for none."""
    most, used = most_recoveries(at.past, at.pipeline), counted(at.failed, at.past)
    needed = 0 if plan.awaits and most else len(plan.launches)
    if needed and used + needed > most:
        raise ParkedError(
            f"{used} of {most} recoveries are used up, and to {plan.action} needs {needed} more",
            mend="Mend the cause, then start a new run; `limits: {max_recoveries: …}` is the bound.",
        )


def _paused(at: Situation, plan: Plan) -> Plan:
    """The plan after the pause that losses of workers in a row call for. Raises ParkedError after too many of them."""
    losses = losses_in_row(at.failed, at.past)
    if plan.launches and losses >= MOST_LOSSES:
        raise ParkedError(
            f"worker_lost: {losses} workers in a row died before anything new was in the journal",
            mend="A step may need more memory than there is (the kernel's log says so), or end its own process. "
            "Change that, then start a new run.",
        )
    pause_s = loss_pause_s(losses)
    if not plan.launches or not pause_s:
        return plan
    reason = f"{plan.reason}; after {pause_s:g} s, as {losses} workers in a row were lost without anything new"
    return replace(plan, reason=reason, due_at=max(plan.due_at or 0.0, at.now + pause_s))


def _chosen(at: Situation) -> Plan:
    """By the first rule for the cause that can still do something, else by the default policy.

    Where every model of a call is left alone by now, a rule that would ask them again comes after a wait for them.
    """
    down = outage(at.failed, at.past, at.look, at.now)
    left_s = most_wait_s(at.past, at.pipeline) - waited_s(at.past, at.now)
    for index, rule in enumerate(at.pipeline.fallback):
        if at.failed.cause in rule.on and not _used(at, index, rule):
            if down and left_s > 0 and _asks_the_same(rule):
                break
            plan = _by_rule(at, rule)
            return replace(plan, rule=index, reason=f"{at.failed.cause}: fallback rule {index + 1}: {plan.reason}")
    plan = _waiting(at, down, left_s) if down and left_s > 0 else _by_default(at, down)
    return replace(plan, reason=f"{at.failed.cause}: {plan.reason}")


def _asks_the_same(rule: Fallback) -> bool:
    """Whether what the rule does needs the models that failed."""
    other_model = rule.change is not None and rule.change.model is not None
    return rule.action not in ("run", "park") and not other_model


def _waiting(at: Situation, down: Outage, left_s: float) -> Plan:
    """Go on when the models take calls again; how long that may take is bounded for the root run."""
    due_at = min(down.ready_at, at.now + left_s)
    when = f"{datetime.fromtimestamp(due_at, UTC):%H:%M:%S} UTC"
    said = (
        f"calls to {down.names} were refused, and are not any more"
        if down.is_over
        else (f"{down.names} takes no calls; look again at {when}, wait {left_s:.0f} s at most")
    )
    plan = _again(at, "wait", said)
    return replace(plan, due_at=due_at, awaits=down.awaits, latest_at=at.now + left_s)


def _used(at: Situation, index: int, rule: Fallback) -> bool:
    """Whether this rule can do nothing more for the root run.

    The same change again would end the same; waiting may not. Items that are done, or not yet known, cannot be split.
    """
    if rule.action == "split":
        loops = {step.name for step in at.pipeline.steps if isinstance(step, ForEachStep)}
        return at.failed.at_work is not None and not loops & at.failed.at_work
    tried = [line for line in at.past.decided.values() if line["pipeline"] == at.pipeline.name]
    return rule.action in ("change", "run") and any(line["rule"] == index for line in tried)


def _by_rule(at: Situation, rule: Fallback) -> Plan:
    match rule.action:
        case "change" if rule.change is not None:
            return changing(at, "change", rule.change)
        case "run" if rule.run is not None:
            return _other(at, rule.run)
        case "split":
            return _halves(at)
        case "wait":
            pause_s = _hint_s(at, PAUSE_S)
            return replace(_again(at, "wait", f"go on in {pause_s:g} s"), due_at=at.now + pause_s)
    return Plan("park", "left to a person")


def _hint_s(at: Situation, default: float) -> float:
    """How long the server wanted to be left alone."""
    return min(max(at.past.hints_s.get(at.failed.run, default), 0.0), LONGEST_PAUSE_S)


def _by_default(at: Situation, down: Outage | None) -> Plan:
    """Go on as it was where that may help, else with an edit that fits the cause, else as it was after ever longer."""
    cause = at.failed.cause
    if cause not in CAUSES:
        return Plan("park", "no known cause")
    before = [line for line in at.past.decided.values() if line["cause"] == cause and line["action"] == "continue"]
    most = _LOSSES_UNCHANGED if cause == "worker_lost" else 1
    if cause in CONTINUED and len(before) < most and not down:
        return _continued(at, _hint_s(at, 0.0))
    change = derived(at.pipeline, cause, at.recovery.change, at.settings, chosen=at.failed.tags.get(MODEL_TAG))
    if change is not None:
        return changing(at, "derive", change)
    if down:
        return Plan("park", f"{down.names} took no calls, and all of limits.max_wait_s was waited for that")
    if cause in CONTINUED:
        longer_s = 0.0 if cause == "worker_lost" else PAUSE_S * 2 ** (len(before) - 1)
        return _continued(at, max(_hint_s(at, 0.0), min(longer_s, LONGEST_PAUSE_S)))
    return Plan("park", "no rule of its own, and nothing that could be changed would help")


def _continued(at: Situation, pause_s: float) -> Plan:
    plan = _again(at, "continue", "no rule of its own; go on as it was")
    return replace(plan, due_at=at.now + pause_s) if pause_s > 0 else plan


def changing(at: Situation, action: Action, change: Change) -> Plan:
    """Go on with a change, on top of those that the failed run had already."""
    earlier = at.recovery.change
    whole = {
        **(earlier.model_dump(mode="json", exclude_unset=True) if earlier else {}),
        **change.model_dump(mode="json", exclude_unset=True),
    }
    plan = _again(at, action, f"go on with {change.in_words()}", {CHANGE_TAG: as_tag(whole)})
    if action == "derive":
        job = tuple(replace(launch, job=RECOVER) for launch in plan.launches)
        reason = f"no rule of its own; derived from {at.pipeline.name}: {plan.reason}"
        return replace(plan, launches=job, reason=reason, change=whole)
    return replace(plan, change=whole)


def _again(at: Situation, action: Action, reason: str, tags: Mapping[str, str] | None = None) -> Plan:
    return Plan(action, reason, (_launch(at, 1, at.pipeline.name, reason, tags or {}),))


def _launch(at: Situation, number: int, job: str, reason: str, tags: Mapping[str, str]) -> Launch:
    """A run that continues the root run, with the tags of the one that failed."""
    return follow_up(at.failed, str(number), job, reason, tags)


def follow_up(failed: Failed, mark: str, job: str, reason: str, tags: Mapping[str, str]) -> Launch:
    """A run that goes on after this one; `mark` tells it from others that do."""
    kept = {name: text for name, text in failed.tags.items() if not name.startswith((".", "dagster/"))}
    ours = {
        ROOT_RUN_TAG: failed.root_run,
        RECOVERY_TAG: failed.run,
        REASON_TAG: f"{failed.cause}: {reason}"[:_REASON_CHARS],
        TRIGGER_TAG: RECOVERED,
        "dagster/parent_run_id": failed.run,
        "dagster/root_run_id": failed.root_run,
        KEY_TAG: f"{failed.run}:{mark}",
    }
    return Launch(f"{failed.run}:{mark}", job, {**kept, **ours, **LANE, **tags})


def _halves(at: Situation) -> Plan:
    if not any(isinstance(step, ForEachStep) for step in at.pipeline.steps):
        raise ParkedError(f"{at.pipeline.name} has no top-level for_each whose items could be split")
    halves = (at.recovery.part or Part(1, 1)).halves()
    reason = "half of the items in each of two runs"
    launches = [
        _launch(at, number, at.pipeline.name, reason, {PART_TAG: str(half)}) for number, half in enumerate(halves, 1)
    ]
    return Plan("split", reason, tuple(launches))


def _other(at: Situation, name: str) -> Plan:
    """Another pipeline with those of the inputs that it declares, within the root run's budget."""
    gone_through = {at.pipeline.name, *at.past.pipelines.values()}
    if name in gone_through:
        raise ParkedError(f"{name} has failed for this root run already: {at.pipeline.name} and it would go in circles")
    try:
        target = at.find(name).pipeline
        complete_inputs(target, handed_on(at.pipeline, target, at.failed.inputs))
    except ElexirionError as error:
        raise ParkedError(f"the fallback {name} cannot be run: {error}") from error
    tags = {
        ROOT_PIPELINE_TAG: at.recovery.root_pipeline or at.pipeline.name,
        CEILING_TAG: as_tag(least(at.pipeline.budget, at.recovery.ceiling)),
    }
    reason = f"run {name} in its place"
    other = _launch(at, 1, name, reason, tags)
    of_the_other = (CHANGE_TAG, PART_TAG, *(() if at.failed.tags.get(MODEL_TAG) == NO_MODEL else (MODEL_TAG,)))
    without = {tag: text for tag, text in other.tags.items() if tag not in of_the_other}
    return Plan("run", reason, (replace(other, tags={**without, PIPELINE_TAG: name}),))


def handed_on(failed: Pipeline, target: Pipeline, inputs: Mapping[str, Json]) -> dict[str, Json]:
    """What a failed run worked with, its defaults included, as far as another pipeline declares and accepts it."""
    defaults = {
        name: declared.default
        for name, declared in failed.inputs.items()
        if declared.default is not None and name in target.inputs and target.inputs[name].accepts(declared.default)
    }
    return {**defaults, **{name: value for name, value in inputs.items() if name in target.inputs}}
