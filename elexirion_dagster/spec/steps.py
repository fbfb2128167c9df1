"""The composite steps and the union of all step types."""

import re
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from elexirion_dagster.records import Json
from elexirion_dagster.spec.analyze import AnalyzeStep
from elexirion_dagster.spec.base import Name, StepBase
from elexirion_dagster.spec.command import CommandStep
from elexirion_dagster.spec.files import FilesStep
from elexirion_dagster.spec.llm import LlmStep
from elexirion_dagster.spec.query import QueryStep
from elexirion_dagster.spec.set import SetStep
from elexirion_dagster.spec.sql import SqlStep
from elexirion_dagster.spec.transform import TransformStep


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
    on_error: Literal["fail", "skip", "collect"] = "fail"
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


Step = Annotated[
    LlmStep
    | ForEachStep
    | SwitchStep
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
SwitchStep.model_rebuild()


def branches(step: StepBase) -> dict[str, tuple["Step", ...]]:
    """The lists of inner steps of a composite, by a label for messages; empty for a leaf."""
    match step:
        case ForEachStep():
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


def inner_names(step: StepBase) -> frozenset[str]:
    """Names that a composite brings into the scope of its inner steps."""
    return frozenset({step.as_, "loop"}) if isinstance(step, ForEachStep) else frozenset()


def asks_model(step: StepBase) -> bool:
    """Whether the step, or one inside it, calls a model."""
    return isinstance(step, LlmStep) or any(asks_model(inner) for inner in inner_steps(step))
