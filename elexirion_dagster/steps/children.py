"""The pipelines that the steps of a run may run, with what is worked out once for each."""

from collections.abc import Mapping
from dataclasses import dataclass

from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.expressions import Engine
from elexirion_dagster.spec.children import Pipelines, child_of
from elexirion_dagster.spec.edges import edges
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.steps import PipelineStep


@dataclass(frozen=True, slots=True)
class Child:
    """A pipeline that a step runs: by reference (`named`) or inline; `graph` has the steps each step waits for."""

    pipeline: Pipeline
    named: bool
    graph: Mapping[str, tuple[str, ...]]


class Children:
    """The pipelines behind pipeline steps, found once per step object: a for_each asks for every item."""

    def __init__(self, pipelines: Pipelines, engine: Engine) -> None:
        self._pipelines = pipelines
        self._engine = engine
        self._found: dict[int, tuple[PipelineStep, Child]] = {}

    def of(self, step: PipelineStep) -> Child:
        """The pipeline that a step runs. Raises ElexirionError (bad_pipeline) when it is not known."""
        if id(step) not in self._found:
            self._found[id(step)] = (step, self._child(step))
        return self._found[id(step)][1]

    def _child(self, step: PipelineStep) -> Child:
        pipeline = child_of(step, self._pipelines)
        if pipeline is None:
            raise ElexirionError(
                f"{step.name} runs {step.pipeline}, which was not loaded with this pipeline",
                cause="bad_pipeline",
                mend="Load the file anew: `elexirion check` says whether it finds it.",
            )
        graph = edges(pipeline.steps, self._engine, self._pipelines)
        return Child(pipeline, isinstance(step.pipeline, str), graph)
