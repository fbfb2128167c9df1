"""What may be wrong with the way a document runs other pipelines: their inputs, their workspace, going round."""

from collections.abc import Iterator

from elexirion_dagster.errors import ExpressionError
from elexirion_dagster.expressions import Engine
from elexirion_dagster.records import Json
from elexirion_dagster.spec.children import Pipelines, child_of, pipeline_steps, reached
from elexirion_dagster.spec.issues import Issue, Path, unknown
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.steps import PipelineStep


def check_children(pipeline: Pipeline, engine: Engine, pipelines: Pipelines) -> Iterator[Issue]:
    """Everything wrong with the pipeline steps of a document, at any depth, besides their templates."""
    for path, step in pipeline_steps(pipeline.steps):
        child = child_of(step, pipelines)
        if child is not None:
            yield from _check_inputs(step, path, child, engine)
            yield from _check_workspace(path, child, pipeline)
            if isinstance(step.pipeline, str):
                yield from _check_recursion(step, path, child, pipeline, pipelines)


def _check_inputs(step: PipelineStep, path: Path, child: Pipeline, engine: Engine) -> Iterator[Issue]:
    for name, value in step.inputs.items():
        at = (*path, "inputs", name)
        if name not in child.inputs:
            yield unknown(at, f"{child.name} has no input {name!r}", name, child.inputs, "It takes no inputs.")
        elif _is_constant(value, engine) and not child.inputs[name].accepts(value):
            declared = child.inputs[name]
            allowed = f" out of {list(declared.enum)}" if declared.enum else ""
            yield Issue(at, f"the input {name} of {child.name} must be {declared.kind}{allowed}, got {value!r}")
    for name, declared in child.inputs.items():
        if declared.required and name not in step.inputs:
            message = f"{child.name} needs the input {name} ({declared.type})"
            yield Issue(path, message, f"Give it under inputs of {step.name}.")


def _is_constant(value: Json, engine: Engine) -> bool:
    """Whether a value is as it stands what will be handed in."""
    if isinstance(value, dict | list):
        return False
    try:
        return not isinstance(value, str) or not engine.references(value)
    except ExpressionError:
        return False


def _check_workspace(path: Path, child: Pipeline, pipeline: Pipeline) -> Iterator[Issue]:
    if child.workspace is not None and child.workspace != pipeline.workspace:
        message = f"{child.name} wants a workspace of its own, and there is one for the whole run"
        yield Issue((*path, "pipeline"), message, f"Give {pipeline.name} the same workspace, or {child.name} none.")


def _check_recursion(
    step: PipelineStep, path: Path, child: Pipeline, pipeline: Pipeline, pipelines: Pipelines
) -> Iterator[Issue]:
    again = child.name == pipeline.name or pipeline.name in reached(child.steps, pipelines)
    if again and step.max_depth == 1:
        way = "itself" if child.name == pipeline.name else f"{child.name}, which comes to run {pipeline.name} again"
        message = f"{pipeline.name} runs {way}, and {step.name} does not say how deep"
        yield Issue((*path, "pipeline"), message, "Give the step a max_depth of 2 or more and a `when` that ends it.")
