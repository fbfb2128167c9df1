"""The semantic check: what a document that has the right shape may still have wrong."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from keyword import iskeyword
from types import MappingProxyType

from elexirion_dagster.errors import ExpressionError
from elexirion_dagster.expressions import Engine
from elexirion_dagster.spec.base import StepBase
from elexirion_dagster.spec.edges import assigned, cycle, edges
from elexirion_dagster.spec.llm import LlmStep
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.references import Chain, Expression, chains_of, expressions, texts
from elexirion_dagster.spec.sessions import faults as session_faults
from elexirion_dagster.spec.steps import ForEachStep, SwitchStep, branches, inner_names, inner_steps

Path = tuple[str | int, ...]
RESULT_FIELDS = ("text", "data", "status", "error", "reason", "cost_usd", "duration_s", "usage")
RUN_FIELDS = ("id", "started_at", "pipeline")
RESERVED = {"outputs": "the op that evaluates the pipeline's outputs"}
KEPT_BY_DAGSTER = frozenset(
    [
        "arg_dict",
        "bool",
        "conf",
        "config",
        "context",
        "dict",
        "float",
        "input",
        "input_arg_dict",
        "int",
        "meta",
        "output",
        "output_arg_dict",
        "str",
        "type",
    ]
)
"""Words that Dagster 1.13 allows as no job's name (its DISALLOWED_NAMES), besides Python's own."""
RESERVED_IN_ITEMS = dict.fromkeys(("key", "item", "status"), "what every entry of a for_each's results has")
_ROOTS = ("inputs", "steps", "vars", "run")
_NAMED = 'Write worktree_of: "{{ inputs.repo }}", with repo an input of type path.'
_INERT = {
    "partitions": "a job scans every file in one run",
    "repos": "a schedule runs with the inputs' defaults",
    "on": "use `schedule`",
    "fallback": "a failed run stays failed until it is launched again",
    "score": "outcomes are recorded without scores",
    "optimize": "prompts stay as written",
    "examples": "prompts stay as written",
}


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing wrong (or, as a warning, doubtful) at a path inside the document."""

    path: Path
    message: str
    mend: str | None = None
    warning: bool = False


@dataclass(frozen=True, slots=True)
class _Scope:
    """Names that an expression may use at some place of the document."""

    inputs: frozenset[str]
    env: frozenset[str]
    steps: Mapping[str, StepBase]
    vars: frozenset[str]
    local: frozenset[str] = frozenset()

    def roots(self) -> list[str]:
        names = [*_ROOTS, *sorted(self.local)]
        return [*names, "env"] if self.env else names


def check(pipeline: Pipeline, engine: Engine) -> list[Issue]:
    """Everything wrong with a pipeline that its shape does not show; warnings included, none raised."""
    return [
        *_check_steps(pipeline, engine),
        *_check_graph(pipeline, engine),
        *_check_outputs(pipeline, engine),
        *_check_workspace(pipeline, engine),
        *_check_name(pipeline),
        *_check_schedule(pipeline),
        *(Issue(*found) for found in session_faults(pipeline.steps)),
        *_inert(pipeline),
    ]


def _start(pipeline: Pipeline) -> _Scope:
    return _Scope(frozenset(pipeline.inputs), frozenset(pipeline.env), {}, frozenset())


def _all_vars(pipeline: Pipeline) -> frozenset[str]:
    return frozenset(name for step in pipeline.steps for name in assigned(step))


def _check_steps(pipeline: Pipeline, engine: Engine) -> Iterator[Issue]:
    yield from _names(pipeline.steps, ("steps",), _start(pipeline), RESERVED)
    yield from _walk(pipeline.steps, ("steps",), _start(pipeline), engine, forward=True)


def _walk(steps: tuple[StepBase, ...], at: Path, scope: _Scope, engine: Engine, *, forward: bool) -> Iterator[Issue]:
    """Check a list of steps; `forward` says whether a step may refer to one below it (only at the top level)."""
    everything = {**scope.steps, **{step.name: step for step in steps}}
    for index, step in enumerate(steps):
        path = (*at, index)
        here = replace(scope, steps=everything) if forward else scope
        known = replace(here, steps={name: other for name, other in here.steps.items() if name != step.name})
        beside = steps if forward else steps[:index]
        yield from _check_step(step, path, known, engine, frozenset(other.name for other in beside))
        yield from _check_inner(step, path, known, engine)
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
                _meant(name, siblings - {step.name}),
            )
    if step.retry and inner_steps(step):
        message = f"retry of {step.name!r} would repeat, and pay again for, what came out well inside it"
        yield Issue((*path, "retry"), message, "Put it on the steps inside.")
    if step.when is False or (isinstance(step.when, str) and step.when.strip("{} ").lower() == "false"):
        message = f"step {step.name!r} can never run"
        yield Issue((*path, "when"), message, "Remove it, or change when.", warning=True)
    for expression in expressions(step):
        yield from _check_expression(expression, path, scope, engine)
    if isinstance(step, LlmStep) and step.system:
        yield from _check_system(step.system, (*path, "system"), scope, engine)


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
            yield _unknown(at, f"inputs.{name} is not declared", name, scope.inputs, "Declare it under inputs.")
        case ("env", name, *_) if name not in scope.env:
            yield _unknown(at, f"env.{name} is not listed", name, scope.env, "List the variable under env.")
        case ("vars", name, *_) if name not in scope.vars:
            yield _unknown(
                at, f"vars.{name} is not set by any step above", name, scope.vars, "Add a set step before this one."
            )
        case ("run", name, *_) if name not in RUN_FIELDS:
            yield _unknown(at, f"run has no field {name!r}", name, RUN_FIELDS)
        case ("steps", name, *_) if name not in scope.steps:
            yield _unknown(at, f"steps.{name} is no step that is done before this one", name, scope.steps)
        case ("steps", name, *rest):
            yield from _check_result(scope.steps[name], rest, at)
        case (root, *_) if root not in scope.roots():
            yield _unknown(at, f"{root!r} is not defined here", root, scope.roots())


def _check_result(step: StepBase, rest: list[str], at: Path) -> Iterator[Issue]:
    fields = (*RESULT_FIELDS, "results") if _has_results(step) else RESULT_FIELDS
    if rest and rest[0] not in fields:
        yield _unknown(at, f"a {step.type} step has no field {rest[0]!r}", rest[0], fields)  # type: ignore[attr-defined]
    elif isinstance(step, LlmStep) and rest[:1] == ["data"] and len(rest) > 1:
        schema = step.output_schema()
        if schema is None:
            yield Issue(at, f"steps.{step.name} has no typed data, only text", "Give the step an output, or use .text.")
        elif schema.get("additionalProperties") is False and rest[1] not in schema.get("properties", {}):
            known = schema.get("properties", {})
            yield _unknown(at, f"the output of {step.name} has no field {rest[1]!r}", rest[1], known)


def _has_results(step: StepBase) -> bool:
    return isinstance(step, ForEachStep) or (isinstance(step, LlmStep) and step.samples > 1)


def _check_inner(step: StepBase, path: Path, scope: _Scope, engine: Engine) -> Iterator[Issue]:
    local = inner_names(step)
    if isinstance(step, ForEachStep) and step.as_ in {*scope.local, *_ROOTS, "env", "loop"}:
        yield Issue((*path, "as"), f"the name {step.as_!r} is in use already", "Choose another name for the item.")
    inside = replace(scope, local=scope.local | local)
    reserved = RESERVED_IN_ITEMS if isinstance(step, ForEachStep) else {}
    for label, steps in branches(step).items():
        where = (*path, *label.split(".", 1))
        yield from _names(steps, where, inside, reserved)
        yield from _walk(steps, where, inside, engine, forward=False)
    yield from _never(step, path, engine)


def _never(step: StepBase, path: Path, engine: Engine) -> Iterator[Issue]:
    """Steps inside a composite that no value can lead to."""
    if isinstance(step, SwitchStep) and _is_constant(step.value, engine):
        message = f"the value {step.value!r} never changes, so one branch is all that can run"
        yield Issue((*path, "value"), message, "Use a template.", warning=True)
    if isinstance(step, ForEachStep) and step.items == []:
        message = f"the items of {step.name!r} are an empty list, so its steps can never run"
        yield Issue((*path, "items"), message, "Refer to a list.", warning=True)


def _is_constant(template: str, engine: Engine) -> bool:
    try:
        return not engine.references(template)
    except ExpressionError:
        return False


def _check_graph(pipeline: Pipeline, engine: Engine) -> Iterator[Issue]:
    try:
        loop = cycle(edges(pipeline.steps, engine))
    except ExpressionError:
        return
    if loop:
        index = next(i for i, step in enumerate(pipeline.steps) if step.name == loop[0])
        yield Issue(
            ("steps", index),
            f"steps wait for one another: {' -> '.join(loop)}",
            "Break the loop: one of them has to go first.",
        )


def _check_outputs(pipeline: Pipeline, engine: Engine) -> Iterator[Issue]:
    scope = replace(_start(pipeline), steps={step.name: step for step in pipeline.steps}, vars=_all_vars(pipeline))
    for text in texts(dict(pipeline.outputs), ("outputs",)):
        yield from _check_expression(text, (), scope, engine)


def _check_workspace(pipeline: Pipeline, engine: Engine) -> Iterator[Issue]:
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
            yield from _check_chain(chain, at, _start(pipeline))
    declared = [pipeline.inputs[chain[1]] for chain in chains if chain[1:] and chain[1] in pipeline.inputs]
    if not chains or any(one.type != "path" for one in declared):
        yield Issue(at, "worktree_of names no input of type path, and the run may work on no other", _NAMED)


def _check_name(pipeline: Pipeline) -> Iterator[Issue]:
    if pipeline.name in KEPT_BY_DAGSTER or iskeyword(pipeline.name):
        yield Issue(
            ("name",), f"a job cannot be called {pipeline.name!r}", "Choose another name, and call the file so."
        )


def _check_schedule(pipeline: Pipeline) -> Iterator[Issue]:
    required = [name for name, declared in pipeline.inputs.items() if declared.required]
    if pipeline.schedule and required:
        message = f"a scheduled run has nobody to ask for the input {required[0]!r}"
        yield Issue(("inputs", required[0]), message, "Give it a default, or remove the schedule.")


def _inert(pipeline: Pipeline) -> Iterator[Issue]:
    for key, instead in _INERT.items():
        if key in pipeline.model_fields_set:
            yield Issue(
                (key,), f"`{key}` is understood but nothing acts on it in this version: {instead}", warning=True
            )


def _unknown(at: Path, message: str, word: str, known: Iterable[str], mend: str | None = None) -> Issue:
    return Issue(at, message, _meant(word, known) or mend)


def _meant(word: str, known: Iterable[str]) -> str | None:
    names = list(known)
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known here: {', '.join(sorted(names))}." if names else None
