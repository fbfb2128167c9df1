"""The slots of a pipeline: every llm step whose `system` and examples are its own, by its address."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from elexirion_dagster.expressions import Engine
from elexirion_dagster.spec.base import Model, StepBase
from elexirion_dagster.spec.children import child_of
from elexirion_dagster.spec.issues import Path
from elexirion_dagster.spec.learning import Optimize, merged
from elexirion_dagster.spec.llm import LlmStep
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.steps import PipelineStep, SwitchStep, branch_name, branches


@dataclass(frozen=True, slots=True)
class SlotSpec:
    """One slot: `step` is its dotted path of names, `around` the composites it stands in, the outermost first.

    `optimize` is the step's over the pipeline's; None where neither has one, and where nothing can be learned.
    """

    pipeline: str
    step: str
    spec: LlmStep
    optimize: Optimize | None
    model: Model
    at: Path
    around: tuple[StepBase, ...]

    def inputs(self, engine: Engine) -> tuple[str, ...]:
        """The dotted paths of the values that its templates refer to, in alphabetical order."""
        chains = {chain for turn in self.spec.turns() for chain in engine.references(turn.content)}
        return tuple(sorted(".".join(chain) for chain in chains))


def slots(pipeline: Pipeline) -> tuple[SlotSpec, ...]:
    """Every llm step of the pipeline in the order written, those of composites and inline pipelines included."""
    return tuple(_slots(pipeline.steps, _Around(pipeline, ("steps",), (), pipeline.model, ())))


def unlearnable(step: LlmStep) -> str | None:
    """Why a step's prompt cannot be improved from what it answered; None where it can."""
    if step.tools:
        return (
            "it uses tools, so a logged question cannot be asked again: the files it worked on are not what they were"
        )
    if step.session is not None:
        return "it continues a session, so a logged question cannot be asked again without all that was said before"
    return None


@dataclass(frozen=True, slots=True)
class _Around:
    """What stands around some steps: the document, their place in it, names, the word for the model, composites."""

    pipeline: Pipeline
    at: Path
    names: tuple[str, ...]
    model: Model
    steps: tuple[StepBase, ...]


def _slots(steps: Iterable[StepBase], around: _Around) -> Iterator[SlotSpec]:
    for index, step in enumerate(steps):
        here = replace(around, at=(*around.at, index), names=(*around.names, step.name))
        if isinstance(step, LlmStep):
            yield _slot(step, here)
        elif isinstance(step, PipelineStep):
            yield from _inline(step, here)
        for label, inner in branches(step).items():
            key, _, case = label.partition(".")
            names = (*here.names, branch_name(step, case or key)) if isinstance(step, SwitchStep) else here.names
            place = (*here.at, key, case) if case else (*here.at, key)
            yield from _slots(inner, replace(here, at=place, names=names, steps=(*here.steps, step)))


def _slot(step: LlmStep, here: _Around) -> SlotSpec:
    optimize = None if unlearnable(step) else merged(here.pipeline.optimize, step.optimize)
    address = ".".join(here.names)
    return SlotSpec(here.pipeline.name, address, step, optimize, step.model or here.model, here.at, here.steps)


def _inline(step: PipelineStep, here: _Around) -> Iterator[SlotSpec]:
    child = None if isinstance(step.pipeline, str) else child_of(step, {})
    if child is not None:
        model = child.model if "model" in child.model_fields_set else here.model
        place = (*here.at, "pipeline", "steps")
        yield from _slots(child.steps, replace(here, at=place, model=model, steps=(*here.steps, step)))
