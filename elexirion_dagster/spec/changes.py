"""What a recovery changes of a pipeline: which model, how much, which tools; never what the steps do."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from elexirion_dagster.spec.base import Spec, StepBase
from elexirion_dagster.spec.conversation import AnyTool, Programs, ToolName
from elexirion_dagster.spec.llm import LlmStep, Model
from elexirion_dagster.spec.steps import (
    ForEachStep,
    InlinePipeline,
    PipelineStep,
    Step,
    SwitchStep,
    WhileStep,
)


class Lower(Spec):
    """A ceiling that is lower than the pipeline's own; of two the lower one holds."""

    threads: int = Field(ge=1, le=1024)
    """Threads in all, nested fan-outs included."""


class Change(Spec):
    """Typed edits of a pipeline. They hold for all steps that are not finished; those that are stay finished."""

    model: Model | None = None
    """The model of every llm step, or a list as failover order."""
    limits: Lower | None = None
    """Lower ceilings of the machine."""
    max_tokens: int | None = Field(default=None, ge=1, le=200_000)
    """Longest answer of every llm step."""
    max_turns: int | None = Field(default=None, ge=1, le=1000)
    """Most model calls of every tool loop."""
    timeout_s: float | None = Field(default=None, gt=0, le=86_400)
    """Seconds for every step that has a `timeout_s`."""
    max_parallel: int | None = Field(default=None, ge=1, le=1000)
    """Items of a for_each worked on at once, at most."""
    batch_size: int | None = Field(default=None, ge=1)
    """Items per wave of a for_each, at most."""
    tools: tuple[ToolName | Literal["command"], ...] | None = None
    """The tools that llm steps keep of those they have."""
    prompts: dict[str, str] = {}
    """Prompt version by step (names joined by dots): `yaml`, or a version in the prompt registry."""
    plain: bool = False
    """Ask more simply: without worked examples, one sample."""

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError(f"change is empty: give one or more of {', '.join(type(self).model_fields)}")
        return self

    def in_words(self) -> str:
        """The edits, for people."""
        given = self.model_dump(mode="json", exclude_unset=True)
        return ", ".join(f"{name}: {value}" for name, value in given.items())


def changed_step(step: Step, change: Change) -> Step:
    """The step itself changed, not those inside it."""
    update: dict[str, Any] = {}
    if change.timeout_s is not None and step.timeout_s is not None:
        update["timeout_s"] = change.timeout_s
    match step:
        case LlmStep():
            update |= _llm(step, change)
        case ForEachStep():
            update |= _smaller(step, change)
    return step.model_copy(update=update) if update else step


def _llm(step: LlmStep, change: Change) -> dict[str, Any]:
    plain = {"examples": (), "samples": 1} if change.plain else {}
    kept = None if change.tools is None else tuple(tool for tool in step.tools if _name(tool) in change.tools)
    wanted = {"max_tokens": change.max_tokens, "max_turns": change.max_turns, "tools": kept, **plain}
    return {name: value for name, value in wanted.items() if value is not None}


def _name(tool: AnyTool) -> str:
    return "command" if isinstance(tool, Programs) else tool


def _smaller(step: ForEachStep, change: Change) -> dict[str, int]:
    most = {"max_parallel": change.max_parallel, "batch_size": change.batch_size}
    return {
        name: value if (now := getattr(step, name)) is None else min(now, value)
        for name, value in most.items()
        if value is not None
    }


def changed_steps(steps: tuple[Step, ...], change: Change) -> tuple[Step, ...]:
    """The steps and all inside them changed, those of inline pipelines included; a model is written into them."""
    return tuple(_deep(step, change) for step in steps)


def _deep(step: Step, change: Change) -> Step:
    changed: StepBase = changed_step(step, change)
    update: dict[str, Any] = {}
    match changed:
        case LlmStep() if change.model is not None and changed.model is not None:
            update["model"] = change.model
        case ForEachStep() | WhileStep():
            update["steps"] = changed_steps(changed.steps, change)
        case SwitchStep():
            update["cases"] = {case: changed_steps(steps, change) for case, steps in changed.cases.items()}
            update["default"] = changed_steps(changed.default, change)
        case PipelineStep() if isinstance(changed.pipeline, InlinePipeline):
            inside = {"steps": changed_steps(changed.pipeline.steps, change)}
            model = {} if changed.pipeline.model is None or change.model is None else {"model": change.model}
            update["pipeline"] = changed.pipeline.model_copy(update={**inside, **model})
    return changed.model_copy(update=update)  # type: ignore[return-value]
