"""The composite steps and the union of all step types."""

import re
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, StringConstraints

from elexirion_dagster.records import Json
from elexirion_dagster.spec.analyze import AnalyzeStep
from elexirion_dagster.spec.base import BY_FORM, MAP, OTHER, Budget, Name, Spec, StepBase
from elexirion_dagster.spec.command import CommandStep
from elexirion_dagster.spec.files import FilesStep
from elexirion_dagster.spec.inputs import Input
from elexirion_dagster.spec.llm import LlmStep, Model
from elexirion_dagster.spec.query import QueryStep
from elexirion_dagster.spec.set import SetStep
from elexirion_dagster.spec.sql import SqlStep
from elexirion_dagster.spec.transform import TransformStep

OnError = Literal["fail", "skip", "collect"]


class ForEachStep(StepBase):
    """Run steps for every item, several items at once; results stand in item order."""

    templates: ClassVar[tuple[str, ...]] = ("items", "key")

    type: Literal["for_each"]
    items: Json
    """Template that gives a list, or a list."""
    as_: Name = Field(default="item", alias="as")
    """Name of the item inside the steps."""
    key: str | None = None
    """Template of the item's key; its path, id or name when absent, else its position."""
    max_parallel: int = Field(default=8, ge=1, le=1000)
    """How many items are worked on at once."""
    batch_size: int | None = Field(default=None, ge=1)
    """Items per wave: a wave is done before the next begins; one wave when absent."""
    on_error: OnError = "fail"
    """After an item failed: stop and fail; go on and leave it out of the results; go on and keep it, marked failed."""
    steps: tuple["Step", ...] = Field(min_length=1)
    """What to do for each item, in order."""


class SwitchStep(StepBase):
    """Run one of several lists of steps, chosen by a value."""

    templates: ClassVar[tuple[str, ...]] = ("value",)

    type: Literal["switch"]
    value: str
    """Template whose value chooses the case."""
    cases: dict[str, tuple["Step", ...]] = Field(min_length=1)
    """Steps by value."""
    default: tuple["Step", ...] = ()
    """Steps for every other value; none when absent."""


class WhileStep(StepBase):
    """Run steps again and again as long as a condition holds, one turn after the other."""

    conditions: ClassVar[tuple[str, ...]] = ("when", "condition")

    type: Literal["while"]
    condition: str | bool
    """Asked before every turn; one that refers to the steps inside is first asked after the first turn."""
    max_iterations: int = Field(default=100, ge=1, le=1000)
    """Turns at most; the step fails (`max_turns`) when the condition still holds after them."""
    on_error: OnError = "fail"
    """After a turn failed: stop and fail; go on and leave it out of the results; go on and keep it, marked failed."""
    steps: tuple["Step", ...] = Field(min_length=1)
    """What to do in each turn, in order; `steps.<name>` of one below is its result of the turn before."""


class InlinePipeline(Spec):
    """A pipeline that stands inside the step that runs it."""

    name: Name | None = None
    """The step's name when absent."""
    description: str | None = None
    """For readers."""
    model: Model | None = None
    """Model of the llm steps that name none; that of the pipeline around when absent."""
    inputs: dict[Name, Input] = {}
    """Declared inputs."""
    budget: Budget = Budget()
    """What it may spend, inside what the run may."""
    steps: tuple["Step", ...] = Field(min_length=1)
    """What to do."""
    outputs: dict[Name, Json] = {}
    """Templates of its results."""


class PipelineStep(StepBase):
    """Run another pipeline as one step: inputs in, outputs out, nothing else of either seen by the other."""

    templates: ClassVar[tuple[str, ...]] = ("inputs",)

    type: Literal["pipeline"]
    pipeline: Annotated[
        Annotated[str, StringConstraints(min_length=1), OTHER] | Annotated[InlinePipeline, MAP],
        BY_FORM,
    ]
    """Name of a pipeline, path of its file relative to this one (`./x.yaml`), or the pipeline itself."""
    inputs: dict[Name, Json] = {}
    """Values of its inputs; strings are templates."""
    outputs: dict[Name, Json] | None = None
    """Templates of `data`, over the values inside that pipeline; its own outputs when absent."""
    max_depth: int = Field(default=1, ge=1, le=30)
    """How many times that pipeline may be under way inside itself, the first included; 1: not inside itself at all."""


Step = Annotated[
    LlmStep
    | ForEachStep
    | WhileStep
    | SwitchStep
    | PipelineStep
    | TransformStep
    | FilesStep
    | CommandStep
    | AnalyzeStep
    | QueryStep
    | SetStep
    | SqlStep,
    Field(discriminator="type"),
]

STEP_MODELS: dict[str, type[StepBase]] = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(get_args(Step)[0])
}
"""The model of each step type."""

ForEachStep.model_rebuild()
WhileStep.model_rebuild()
SwitchStep.model_rebuild()
InlinePipeline.model_rebuild()
PipelineStep.model_rebuild()


def branches(step: StepBase) -> dict[str, tuple["Step", ...]]:
    """The lists of inner steps of a composite, by a label for messages; empty for a leaf.

    A pipeline step has none here: what is inside has a scope of its own, see `children`.
    """
    match step:
        case ForEachStep() | WhileStep():
            return {"steps": step.steps}
        case SwitchStep():
            return {**{f"cases.{case}": steps for case, steps in step.cases.items()}, "default": step.default}
        case _:
            return {}


def branch_name(step: SwitchStep, case: str) -> str:
    """What stands for a case in the path of names that identifies a prompt: two branches may hold equal names."""
    if case not in step.cases:
        return "default"
    return case if re.fullmatch("[a-z][a-z0-9_]*", case) else f"case{list(step.cases).index(case) + 1}"


def inner_steps(step: StepBase) -> tuple["Step", ...]:
    """All direct inner steps of a composite."""
    return tuple(inner for steps in branches(step).values() for inner in steps)


def is_composite(step: StepBase) -> bool:
    """Whether a step is made of steps, those of a pipeline it runs included."""
    return isinstance(step, PipelineStep) or bool(inner_steps(step))


def inner_names(step: StepBase) -> frozenset[str]:
    """Names that a composite brings into the scope of its inner steps."""
    match step:
        case ForEachStep():
            return frozenset({step.as_, "loop"})
        case WhileStep():
            return frozenset({"loop"})
        case _:
            return frozenset()


def asks_model(step: StepBase) -> bool:
    """Whether the step, or one inside it, calls a model, or may: of a pipeline that it runs only the name is known."""
    if isinstance(step, PipelineStep):
        return isinstance(step.pipeline, str) or any(asks_model(inner) for inner in step.pipeline.steps)
    return isinstance(step, LlmStep) or any(asks_model(inner) for inner in inner_steps(step))
