"""The pipelines that pipeline steps run: which they are, and what all of them together do."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from types import MappingProxyType

from elexirion_dagster.sandbox.policy import Mode
from elexirion_dagster.spec.base import ProgramStep, StepBase
from elexirion_dagster.spec.llm import LlmStep, Model
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.steps import PipelineStep, branches, inner_steps

Pipelines = Mapping[str, Pipeline]
"""Every pipeline that a pipeline may come to run, by name; itself too when it may run itself."""
NO_PIPELINES: Pipelines = MappingProxyType({})


def is_path(reference: str) -> bool:
    """Whether a reference is the path of a file and no name."""
    return "/" in reference or reference.endswith((".yaml", ".yml"))


def referred_name(reference: str) -> str:
    """The name of the pipeline behind a reference: a file's stem is its name."""
    return PurePosixPath(reference).stem if is_path(reference) else reference


def child_of(step: PipelineStep, pipelines: Pipelines) -> Pipeline | None:
    """The pipeline that a step runs; None where it refers to one that is not among these."""
    if isinstance(step.pipeline, str):
        return pipelines.get(referred_name(step.pipeline))
    body = step.pipeline
    given = {name: getattr(body, name) for name in body.model_fields_set if getattr(body, name) is not None}
    return Pipeline(**{**given, "name": body.name or step.name})


def pipeline_steps(
    steps: Iterable[StepBase], at: tuple[str | int, ...] = ("steps",)
) -> Iterator[tuple[tuple[str | int, ...], PipelineStep]]:
    """The pipeline steps of one document with their paths, at any depth, those of inline pipelines included."""
    for index, step in enumerate(steps):
        here = (*at, index)
        if isinstance(step, PipelineStep):
            yield here, step
            if not isinstance(step.pipeline, str):
                yield from pipeline_steps(step.pipeline.steps, (*here, "pipeline", "steps"))
        for label, inner in branches(step).items():
            yield from pipeline_steps(inner, (*here, *label.split(".", 1)))


def reached(steps: Iterable[StepBase], pipelines: Pipelines) -> dict[str, Pipeline]:
    """The pipelines that these steps may come to run by reference, at any distance, in alphabetical order."""
    found: dict[str, Pipeline] = {}
    todo = [step for _, step in pipeline_steps(steps)]
    while todo:
        reference = todo.pop().pipeline
        child = pipelines.get(referred_name(reference)) if isinstance(reference, str) else None
        if child is not None and child.name not in found:
            found[child.name] = child
            todo.extend(step for _, step in pipeline_steps(child.steps))
    return dict(sorted(found.items()))


def pipeline_hash(pipeline: Pipeline, pipelines: Pipelines = NO_PIPELINES) -> str:
    """SHA-256 of the canonical form of the pipeline and of those that it may run."""
    documents = (pipeline, *reached(pipeline.steps, pipelines).values())
    return hashlib.sha256("\n".join(one.model_dump_json(by_alias=True) for one in documents).encode()).hexdigest()


def every_step(steps: Iterable[StepBase]) -> Iterator[StepBase]:
    """The steps of one document at any depth, those of inline pipelines included."""
    for step in steps:
        yield step
        yield from every_step(inner_steps(step))
        if isinstance(step, PipelineStep) and not isinstance(step.pipeline, str):
            yield from every_step(step.pipeline.steps)


@dataclass(frozen=True, slots=True)
class Asked:
    """An llm step somewhere in a run: its word for a model (None: the run's), whether a budget in dollars holds."""

    step: LlmStep
    model: Model | None
    in_dollars: bool


def asked(pipeline: Pipeline, pipelines: Pipelines, *, in_dollars: bool = False) -> Iterator[Asked]:
    """All llm steps that a run may come to, those of the pipelines it runs too; `in_dollars`: a budget around all."""
    around = in_dollars or pipeline.budget.in_dollars
    yield from _asked(pipeline.steps, pipelines, _Place(None, around, frozenset({pipeline.name})))


@dataclass(frozen=True, slots=True)
class _Place:
    """What holds around some steps: a word for the model, a budget in dollars, the named pipelines under way."""

    model: Model | None
    in_dollars: bool
    under_way: frozenset[str]


def _asked(steps: Iterable[StepBase], pipelines: Pipelines, place: _Place) -> Iterator[Asked]:
    for step in steps:
        here = replace(place, in_dollars=place.in_dollars or (step.budget is not None and step.budget.in_dollars))
        if isinstance(step, LlmStep):
            yield Asked(step, step.model or here.model, here.in_dollars)
        child = child_of(step, pipelines) if isinstance(step, PipelineStep) else None
        if child is not None and child.name not in here.under_way:
            inside = _Place(
                child.model if "model" in child.model_fields_set else here.model,
                here.in_dollars or child.budget.in_dollars,
                here.under_way | {child.name},
            )
            yield from _asked(child.steps, pipelines, inside)
        yield from _asked(inner_steps(step), pipelines, here)


def may_ask_model(steps: tuple[StepBase, ...], pipelines: Pipelines) -> bool:
    """Whether one of these steps, or of those inside them and the pipelines they run, calls a model."""
    documents = (steps, *(pipeline.steps for pipeline in reached(steps, pipelines).values()))
    return any(isinstance(step, LlmStep) for document in documents for step in every_step(document))


def sandboxes(steps: tuple[StepBase, ...], pipelines: Pipelines) -> set[Mode | None]:
    """What the steps that start programs say about their sandbox, at any depth."""
    documents = (steps, *(pipeline.steps for pipeline in reached(steps, pipelines).values()))
    found = [step for document in documents for step in every_step(document) if isinstance(step, ProgramStep)]
    return {step.sandbox for step in found if not isinstance(step, LlmStep) or step.programs()}
