"""What is allowed and yet most likely not meant: steps for nothing, loops without a bound or a budget."""

from collections.abc import Iterator

from elexirion_dagster.errors import ExpressionError
from elexirion_dagster.expressions import Engine
from elexirion_dagster.spec.base import Budget, StepBase
from elexirion_dagster.spec.children import Pipelines, child_of, may_ask_model
from elexirion_dagster.spec.edges import assigned, effect
from elexirion_dagster.spec.issues import Issue, Path
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.references import Chain, chains_of, references, texts
from elexirion_dagster.spec.steps import PipelineStep, WhileStep, branches


def smells(pipeline: Pipeline, engine: Engine, pipelines: Pipelines) -> Iterator[Issue]:
    """The warnings of a pipeline that has nothing wrong; those it runs by reference are not looked into."""
    yield from _smells(pipeline, (), engine, pipelines, bounded=_bounded(pipeline.budget))


def _smells(pipeline: Pipeline, at: Path, engine: Engine, pipelines: Pipelines, *, bounded: bool) -> Iterator[Issue]:
    """The same for a pipeline at a path of the document; `bounded` says that a budget holds there."""
    yield from _unused(pipeline, at, engine, pipelines)
    yield from _loops(pipeline.steps, (*at, "steps"), engine, pipelines, bounded=bounded)


def _loops(
    steps: tuple[StepBase, ...], at: Path, engine: Engine, pipelines: Pipelines, *, bounded: bool
) -> Iterator[Issue]:
    for index, step in enumerate(steps):
        path = (*at, index)
        here = bounded or (step.budget is not None and _bounded(step.budget))
        if isinstance(step, WhileStep):
            yield from _loop(step, path, pipelines, bounded=here)
        for label, inner in branches(step).items():
            yield from _loops(inner, (*path, *label.split(".", 1)), engine, pipelines, bounded=here)
        child = child_of(step, pipelines) if isinstance(step, PipelineStep) else None
        if child is not None and isinstance(step, PipelineStep) and not isinstance(step.pipeline, str):
            inside = here or _bounded(child.budget)
            yield from _smells(child, (*path, "pipeline"), engine, pipelines, bounded=inside)


def _loop(step: WhileStep, path: Path, pipelines: Pipelines, *, bounded: bool) -> Iterator[Issue]:
    if "max_iterations" not in step.model_fields_set:
        message = f"the loop {step.name!r} does not say how often it may turn"
        mend = f"Give it max_iterations; without, it fails after {step.max_iterations} turns."
        yield Issue(path, message, mend, warning=True)
    if not bounded and may_ask_model((step,), pipelines):
        message = f"the loop {step.name!r} asks a model in every turn, and nothing bounds what that may cost"
        yield Issue(path, message, "Give the loop or the pipeline a budget.", warning=True)


def _bounded(budget: Budget) -> bool:
    return budget.usd is not None or budget.tokens is not None


def _unused(pipeline: Pipeline, at: Path, engine: Engine, pipelines: Pipelines) -> Iterator[Issue]:
    """Steps that only compute, and whose result nobody asks for; what comes last may be for people to read."""
    try:
        used = _used(pipeline, engine)
    except ExpressionError:
        return
    for index, step in enumerate(pipeline.steps[:-1]):
        if effect(step, pipelines) == "pure" and not _is_used(step, used[index]):
            message = f"nothing uses what the step {step.name!r} comes to, and it does nothing else"
            yield Issue((*at, "steps", index), message, "Refer to it, name it in outputs, or remove it.", warning=True)


def _used(pipeline: Pipeline, engine: Engine) -> list[frozenset[Chain]]:
    """For each step, what all others and the outputs refer to; `needs` counts too."""
    outputs = {chain for text in texts(dict(pipeline.outputs)) for chain in chains_of(text, engine)}
    own = [references(step, engine) | {("steps", name) for name in step.needs} for step in pipeline.steps]
    return [
        frozenset(outputs.union(*(chains for other, chains in enumerate(own) if other != index)))
        for index in range(len(own))
    ]


def _is_used(step: StepBase, chains: frozenset[Chain]) -> bool:
    for chain in chains:
        match chain:
            case ("steps",) | ("vars",):
                return True
            case ("steps", name, *_) if name == step.name:
                return True
            case ("vars", name, *_) if name in assigned(step):
                return True
    return False
