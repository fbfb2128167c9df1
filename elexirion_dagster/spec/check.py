"""The semantic check: what a document that has the right shape may still have wrong."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from elexirion_dagster.errors import ExpressionError
from elexirion_dagster.expressions import Engine
from elexirion_dagster.records import Json
from elexirion_dagster.spec.base import StepBase
from elexirion_dagster.spec.check_children import check_children
from elexirion_dagster.spec.check_learning import check_learning, seen_beside
from elexirion_dagster.spec.check_root import check_root
from elexirion_dagster.spec.children import NO_PIPELINES, Pipelines, child_of
from elexirion_dagster.spec.edges import assigned, cycle, edges
from elexirion_dagster.spec.issues import Issue, Path, meant, unknown
from elexirion_dagster.spec.llm import LlmStep
from elexirion_dagster.spec.partitioning import faults as partition_faults
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.references import Chain, Expression, asks_inside, chains_of, expressions, texts
from elexirion_dagster.spec.sessions import faults as session_faults
from elexirion_dagster.spec.slots import slots
from elexirion_dagster.spec.steps import (
    ForEachStep,
    PipelineStep,
    SwitchStep,
    WhileStep,
    asks_model,
    branches,
    inner_names,
    is_composite,
)

RESULT_FIELDS = ("text", "data", "status", "error", "reason", "cost_usd", "duration_s", "usage")
RUN_FIELDS = ("id", "started_at", "pipeline", "model")
RESERVED = {"outputs": "the op that evaluates the pipeline's outputs"}
RESERVED_IN_ITEMS = dict.fromkeys(("key", "item", "status"), "what every entry of a for_each's results has")
RESERVED_IN_TURNS = dict.fromkeys(("index", "status"), "what every entry of a while's results has")
_RESERVED: Mapping[type[StepBase], Mapping[str, str]] = {ForEachStep: RESERVED_IN_ITEMS, WhileStep: RESERVED_IN_TURNS}
_ROOTS = ("inputs", "steps", "vars", "run")
_Seen = Literal["above", "others", "all"]
"""Which steps beside it a step may refer to: those above, all others, or with itself all (of the turn before)."""
_NAMED = 'Write worktree_of: "{{ inputs.repo }}", with repo an input of type path.'


@dataclass(frozen=True, slots=True)
class _Scope:
    """Names that an expression may use at some place of the document."""

    inputs: frozenset[str]
    env: frozenset[str]
    steps: Mapping[str, StepBase]
    vars: frozenset[str]
    pipelines: Pipelines
    local: frozenset[str] = frozenset()

    def roots(self) -> list[str]:
        names = [*_ROOTS, *sorted(self.local)]
        return [*names, "env"] if self.env else names


def check(pipeline: Pipeline, engine: Engine, pipelines: Pipelines = NO_PIPELINES) -> list[Issue]:
    """Everything wrong with a pipeline that its shape does not show; warnings included, none raised.

    `pipelines` are those it may come to run; what they have wrong themselves is not looked for.
    """
    return [
        *_check_body(pipeline, (), engine, pipelines),
        *check_children(pipeline, engine, pipelines),
        *_check_workspace(pipeline, engine, pipelines),
        *check_root(pipeline),
        *check_learning(pipeline, engine),
        *_check_scores(pipeline, engine),
        *(Issue(*found) for found in partition_faults(pipeline, engine)),
    ]


def _check_body(pipeline: Pipeline, at: Path, engine: Engine, pipelines: Pipelines) -> Iterator[Issue]:
    """Steps and outputs of a pipeline that stands at a path of the document."""
    scope = _start(pipeline, pipelines)
    yield from _names(pipeline.steps, (*at, "steps"), scope, RESERVED)
    yield from _walk(pipeline.steps, (*at, "steps"), scope, engine, seen="others")
    yield from _check_graph(pipeline, at, engine, pipelines)
    yield from _check_outputs(pipeline, pipeline.outputs, (*at, "outputs"), engine)
    yield from (Issue((*at, *place), message, mend) for place, message, mend in session_faults(pipeline.steps))


def _start(pipeline: Pipeline, pipelines: Pipelines = NO_PIPELINES) -> _Scope:
    return _Scope(frozenset(pipeline.inputs), frozenset(pipeline.env), {}, frozenset(), pipelines)


def _all_vars(pipeline: Pipeline) -> frozenset[str]:
    return frozenset(name for step in pipeline.steps for name in assigned(step))


def _walk(steps: tuple[StepBase, ...], at: Path, scope: _Scope, engine: Engine, *, seen: _Seen) -> Iterator[Issue]:
    """Check a list of steps, each of which may refer to those that `seen` says."""
    everything = {**scope.steps, **{step.name: step for step in steps}}
    for index, step in enumerate(steps):
        path = (*at, index)
        here = scope if seen == "above" else replace(scope, steps=everything)
        if seen != "all":
            here = replace(here, steps={name: other for name, other in here.steps.items() if name != step.name})
        beside = steps if seen == "others" else steps[:index]
        yield from _check_step(step, path, here, engine, frozenset(other.name for other in beside))
        yield from _check_inner(step, path, here, engine)
        scope = replace(scope, steps={**scope.steps, step.name: step}, vars=scope.vars | assigned(step))


def _names(
    steps: tuple[StepBase, ...], at: Path, scope: _Scope, reserved: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Issue]:
    seen: set[str] = set(scope.steps)
    for index, step in enumerate(steps):
        if step.name in seen:
            yield Issue(
                (*at, index, "name"),
                f"the name {step.name!r} is taken by an earlier step",
                "Give each step its own name.",
            )
        if step.name in reserved:
            yield Issue(
                (*at, index, "name"),
                f"the name {step.name!r} is kept for {reserved[step.name]}",
                "Choose another name.",
            )
        seen.add(step.name)


def _check_step(step: StepBase, path: Path, scope: _Scope, engine: Engine, siblings: frozenset[str]) -> Iterator[Issue]:
    for index, name in enumerate(step.needs):
        if name not in siblings or name == step.name:
            yield Issue(
                (*path, "needs", index),
                f"needs names {name!r}, which is no other step beside this one that can be done before it",
                meant(name, siblings - {step.name}),
            )
    if step.retry and is_composite(step):
        message = f"retry of {step.name!r} would repeat, and pay again for, what came out well inside it"
        yield Issue((*path, "retry"), message, "Put it on the steps inside.")
    if step.budget is not None and not asks_model(step):
        message = f"step {step.name!r} asks no model, so it has nothing to spend"
        yield Issue((*path, "budget"), message, "Remove it; `timeout_s` bounds the step's time.")
    if step.when is False or (isinstance(step.when, str) and step.when.strip("{} ").lower() == "false"):
        message = f"step {step.name!r} can never run"
        yield Issue((*path, "when"), message, "Remove it, or change when.", warning=True)
    for expression in expressions(step):
        yield from _check_expression(expression, path, _scope_of(expression, step, scope, engine), engine)
    if isinstance(step, LlmStep) and step.system:
        yield from _check_system(step.system, (*path, "system"), scope, engine)


def _scope_of(expression: Expression, step: StepBase, scope: _Scope, engine: Engine) -> _Scope:
    """Where a loop's condition is first asked after a turn, it sees what that turn left."""
    if not isinstance(step, WhileStep) or expression.path != ("condition",):
        return scope
    try:
        after = asks_inside(step, engine)
    except ExpressionError:
        return scope
    return _inside(step, scope) if after else scope


def _inside(step: WhileStep, scope: _Scope) -> _Scope:
    inner = {part.name: part for part in step.steps}
    return replace(scope, steps={**scope.steps, **inner}, vars=scope.vars | assigned(step))


def _check_expression(expression: Expression, path: Path, scope: _Scope, engine: Engine) -> Iterator[Issue]:
    at = (*path, *expression.path)
    try:
        chains = chains_of(expression, engine)
        engine.check(expression.text, condition=expression.kind == "condition")
    except ExpressionError as error:
        yield Issue(at, error.message, error.mend)
        return
    for chain in sorted(chains):
        yield from _check_chain(chain, at, scope)


def _check_system(system: str, at: Path, scope: _Scope, engine: Engine) -> Iterator[Issue]:
    """`system` is fixed text; a variable in it would be sent as it stands."""
    try:
        chains = engine.references(system)
    except ExpressionError:
        return
    for chain in chains:
        if chain[0] in scope.roots():
            yield Issue(
                at,
                f"system is sent as written, so {{{{ {'.'.join(chain)} }}}} would not be filled in",
                "Move it into prompt.",
            )


def _check_chain(chain: Chain, at: Path, scope: _Scope) -> Iterator[Issue]:
    match chain:
        case ("inputs", name, *_) if name not in scope.inputs:
            yield unknown(at, f"inputs.{name} is not declared", name, scope.inputs, "Declare it under inputs.")
        case ("env", name, *_) if name not in scope.env:
            yield unknown(at, f"env.{name} is not listed", name, scope.env, "List the variable under env.")
        case ("vars", name, *_) if name not in scope.vars:
            yield unknown(
                at, f"vars.{name} is not set by any step above", name, scope.vars, "Add a set step before this one."
            )
        case ("run", name, *_) if name not in RUN_FIELDS:
            yield unknown(at, f"run has no field {name!r}", name, RUN_FIELDS)
        case ("steps", name, *_) if name not in scope.steps:
            yield unknown(at, f"steps.{name} is no step that is done before this one", name, scope.steps)
        case ("steps", name, *rest):
            yield from _check_result(scope.steps[name], rest, at)
        case (root, *_) if root not in scope.roots():
            yield unknown(at, f"{root!r} is not defined here", root, scope.roots())


def _check_result(step: StepBase, rest: list[str], at: Path) -> Iterator[Issue]:
    fields = (*RESULT_FIELDS, "results") if _has_results(step) else RESULT_FIELDS
    if rest and rest[0] not in fields:
        yield unknown(at, f"a {step.type} step has no field {rest[0]!r}", rest[0], fields)  # type: ignore[attr-defined]
    elif isinstance(step, LlmStep) and rest[:1] == ["data"] and len(rest) > 1:
        schema = step.output_schema()
        if schema is None:
            yield Issue(at, f"steps.{step.name} has no typed data, only text", "Give the step an output, or use .text.")
        elif schema.get("additionalProperties") is False and rest[1] not in schema.get("properties", {}):
            known = schema.get("properties", {})
            yield unknown(at, f"the output of {step.name} has no field {rest[1]!r}", rest[1], known)


def _has_results(step: StepBase) -> bool:
    return isinstance(step, ForEachStep | WhileStep) or (isinstance(step, LlmStep) and step.samples > 1)


def _check_inner(step: StepBase, path: Path, scope: _Scope, engine: Engine) -> Iterator[Issue]:
    local = inner_names(step)
    if isinstance(step, ForEachStep) and step.as_ in {*scope.local, *_ROOTS, "env", "loop"}:
        yield Issue((*path, "as"), f"the name {step.as_!r} is in use already", "Choose another name for the item.")
    inside = replace(scope, local=scope.local | local)
    reserved = _RESERVED.get(type(step), {})
    for label, steps in branches(step).items():
        where = (*path, *label.split(".", 1))
        yield from _names(steps, where, inside, reserved)
        if isinstance(step, WhileStep):
            yield from _walk(steps, where, replace(inside, vars=inside.vars | assigned(step)), engine, seen="all")
        else:
            yield from _walk(steps, where, inside, engine, seen="above")
    if isinstance(step, PipelineStep):
        yield from _check_child(step, path, scope.pipelines, engine)
    yield from _never(step, path, engine)


def _check_child(step: PipelineStep, path: Path, pipelines: Pipelines, engine: Engine) -> Iterator[Issue]:
    """What stands in this document about the values inside another pipeline, which are seen by nobody else."""
    child = child_of(step, pipelines)
    if child is None:
        return
    if not isinstance(step.pipeline, str):
        yield from _check_body(child, (*path, "pipeline"), engine, pipelines)
    if step.outputs is not None:
        yield from _check_outputs(child, step.outputs, (*path, "outputs"), engine)


def _never(step: StepBase, path: Path, engine: Engine) -> Iterator[Issue]:
    """Steps inside a composite that no value can lead to."""
    if isinstance(step, SwitchStep) and _is_constant(step.value, engine):
        message = f"the value {step.value!r} never changes, so one branch is all that can run"
        yield Issue((*path, "value"), message, "Use a template.", warning=True)
    if isinstance(step, WhileStep) and (
        isinstance(step.condition, bool) or _is_constant(step.condition, engine, condition=True)
    ):
        message = f"the condition {step.condition!r} of {step.name!r} never changes"
        yield Issue((*path, "condition"), message, "Refer to what the steps inside change.", warning=True)
    if isinstance(step, ForEachStep) and step.items == []:
        message = f"the items of {step.name!r} are an empty list, so its steps can never run"
        yield Issue((*path, "items"), message, "Refer to a list.", warning=True)


def _is_constant(template: str, engine: Engine, *, condition: bool = False) -> bool:
    try:
        return not engine.references(template, condition=condition)
    except ExpressionError:
        return False


def _check_graph(pipeline: Pipeline, at: Path, engine: Engine, pipelines: Pipelines) -> Iterator[Issue]:
    try:
        loop = cycle(edges(pipeline.steps, engine, pipelines))
    except ExpressionError:
        return
    if loop:
        index = next(i for i, step in enumerate(pipeline.steps) if step.name == loop[0])
        yield Issue(
            (*at, "steps", index),
            f"steps wait for one another: {' -> '.join(loop)}",
            "Break the loop: one of them has to go first.",
        )


def _check_outputs(pipeline: Pipeline, outputs: Mapping[str, Json], at: Path, engine: Engine) -> Iterator[Issue]:
    scope = replace(_start(pipeline), steps={step.name: step for step in pipeline.steps}, vars=_all_vars(pipeline))
    for text in texts(dict(outputs), at):
        yield from _check_expression(text, (), scope, engine)


def _check_scores(pipeline: Pipeline, engine: Engine) -> Iterator[Issue]:
    """The templates of scores, which see what the run has at its end, and what is around the step they score."""
    around = {slot.step: seen_beside(slot) for slot in slots(pipeline)} if pipeline.score else {}
    start = replace(_start(pipeline), vars=_all_vars(pipeline))
    for name, score in pipeline.score.items():
        inner, local = around.get(score.of, ({}, frozenset()))
        scope = replace(start, steps={**{step.name: step for step in pipeline.steps}, **inner}, local=local)
        yield from _check_expression(Expression((), score.value, "template"), ("score", name, "value"), scope, engine)


def _check_workspace(pipeline: Pipeline, engine: Engine, pipelines: Pipelines) -> Iterator[Issue]:
    if pipeline.workspace is None:
        return
    at = ("workspace", "worktree_of")
    try:
        chains = sorted(engine.references(pipeline.workspace.worktree_of))
    except ExpressionError as error:
        yield Issue(at, error.message, error.mend)
        return
    for chain in chains:
        if chain[0] != "inputs":
            yield Issue(at, f"worktree_of is settled before the first step, so {chain[0]!r} is not known there", _NAMED)
        else:
            yield from _check_chain(chain, at, _start(pipeline, pipelines))
    declared = [pipeline.inputs[chain[1]] for chain in chains if chain[1:] and chain[1] in pipeline.inputs]
    if not chains or any(one.type != "path" for one in declared):
        yield Issue(at, "worktree_of names no input of type path, and the run may work on no other", _NAMED)
