"""The run as a Dagster resource: opened once per run process, shared by its ops."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from elexirion_dagster.codebase.selection import Batch
from elexirion_dagster.compiler.ends import record_own_end, root_of
from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.inputs import masks_note
from elexirion_dagster.records import Json
from elexirion_dagster.redact import Redactor
from elexirion_dagster.run import Run, RunInfo
from elexirion_dagster.sandbox.isolation import warning
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.children import NO_PIPELINES, Pipelines, sandboxes
from elexirion_dagster.spec.partitioning import BATCH
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.store.hub import check_instance
from elexirion_dagster.tags import (
    FILE_TAG,
    FIRST,
    LANE_OF_TAG,
    LANE_TAG,
    PIPELINE_TAG,
    RECOVERED,
    RESUMED,
    TRIGGER_TAG,
)

RUN = "run"
"""Key of the resource; execution/executor.py calls its `cancel()`."""


class Unopened:
    """Stands for a Run that could not be opened; the first op that needs it fails with the error."""

    def __init__(self, error: ElexirionError, redactor: Redactor) -> None:
        self.error = error
        self.redactor = redactor

    def cancel(self) -> None:
        """There is nothing under way."""


def opened(resource: Run | Unopened) -> Run:
    """The run behind the resource. Raises dg.Failure with the cause when it could not be opened."""
    if isinstance(resource, Unopened):
        raise failure(resource.error, resource.redactor)
    return resource


def failure(error: ElexirionError, redactor: Redactor) -> dg.Failure:
    """The error as Dagster's failure, its cause in the metadata; the op is not retried.

    To be raised `from None`: Dagster would keep the error it comes from too, which may hold a secret.
    """
    mend = {"how_to_mend": redactor.text(error.mend)} if error.mend else {}
    return dg.Failure(redactor.text(str(error)), metadata={"cause": error.cause, **mend}, allow_retries=False)


def run_resource(pipeline: Pipeline, settings: Settings, pipelines: Pipelines = NO_PIPELINES) -> dg.ResourceDefinition:
    """The resource that holds this pipeline's Run."""
    schema = {"inputs": dict, BATCH: dg.Field(dict, is_required=False)}

    @dg.resource(config_schema=schema, description="The run's inputs, journal, budget and models.")
    def resource(context: dg.InitResourceContext) -> Iterator[Run | Unopened]:
        batch = context.resource_config.get(BATCH)
        wanted = Wanted(
            pipeline, pipelines, context.resource_config["inputs"], Batch.from_json(batch) if batch else None
        )
        yield from opened_for(context, settings, lambda: wanted)

    return resource


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run is to be of: a pipeline, those it may run, its inputs, the files it scans, and tags beside its own."""

    pipeline: Pipeline
    pipelines: Pipelines
    inputs: Mapping[str, Json]
    batch: Batch | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


def opened_for(
    context: dg.InitResourceContext, settings: Settings, find: Callable[[], Wanted]
) -> Iterator[Run | Unopened]:
    """Open the run that `find` wants, and close it at its end, which this process then journals by itself."""
    if context.run is not None and context.instance is not None:
        record_own_end(context.instance, context.run, settings)
    try:
        if context.instance is not None:
            check_instance(context.instance)
        wanted = find()
        run = Run(wanted.pipeline, info_of(context, wanted), settings, pipelines=wanted.pipelines)
    except ElexirionError as error:
        yield Unopened(error, Redactor(secrets=settings.secrets()))
        return
    warnings = (masks_note(run.inputs), warning(sandboxes(wanted.pipeline.steps, wanted.pipelines), settings.sandbox))
    for note in warnings:
        if note is not None and context.log is not None:
            context.log.warning(note)
    try:
        yield run
    finally:
        run.close()
        if run.kept is not None and context.log is not None:
            context.log.info(run.kept)
        if run.unscored and context.log is not None:
            context.log.warning("\n".join(run.unscored))


def info_of(context: dg.InitResourceContext, wanted: Wanted) -> RunInfo:
    """Which run this is, by what Dagster knows of it."""
    run = context.run
    if run is None:
        raise dg.DagsterInvariantViolationError("a pipeline runs as a Dagster run")
    return RunInfo(
        run=run.run_id,
        root_run=root_of(run),
        inputs=wanted.inputs,
        batch=wanted.batch,
        tags={**{name: value for name, value in run.tags.items() if not name.startswith(".")}, **wanted.tags},
        trigger=_trigger(run),
    )


def _trigger(run: dg.DagsterRun) -> str:
    """What started the run; a re-execution in the UI inherits the tag of the run that it goes on with."""
    given = run.tags.get(TRIGGER_TAG, "dagster")
    return given if run.parent_run_id is None or given in (RECOVERED, RESUMED) else "dagster"


def run_tags(pipeline: Pipeline, file: str | None) -> dict[str, str]:
    """Tags of the pipeline's job, and so of its runs."""
    own = Redactor().tree(dict(pipeline.tags))
    return {**own, PIPELINE_TAG: pipeline.name, **file_tag(file), LANE_TAG: FIRST, LANE_OF_TAG: pipeline.name}


def file_tag(file: str | None) -> dict[str, str]:
    """The tag that says which file a pipeline was read from."""
    return {FILE_TAG: str(Path(file).absolute())} if file else {}
