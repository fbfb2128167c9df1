"""The run as a Dagster resource: opened once per run process, shared by its ops."""

from collections.abc import Iterator, Mapping

import dagster as dg

from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.run import PIPELINE_TAG, ROOT_RUN_TAG, TRIGGER_TAG, Run, RunInfo
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.pipeline import Pipeline

RUN = "run"
"""Key of the resource; execution/executor.py calls its `cancel()`."""


def run_resource(pipeline: Pipeline, settings: Settings) -> dg.ResourceDefinition:
    """The resource that holds this pipeline's Run."""

    @dg.resource(config_schema={"inputs": dg.Permissive()}, description="The run's inputs, journal, budget and models.")
    def resource(context: dg.InitResourceContext) -> Iterator[Run]:
        run = _open(pipeline, settings, context)
        try:
            yield run
        finally:
            run.close()

    return resource


def _open(pipeline: Pipeline, settings: Settings, context: dg.InitResourceContext) -> Run:
    dagster_run = context.run
    if dagster_run is None:
        raise dg.DagsterInvariantViolationError("a pipeline runs as a Dagster run")
    tags: Mapping[str, str] = dagster_run.tags
    root = tags.get(ROOT_RUN_TAG) or dagster_run.root_run_id or dagster_run.run_id
    info = RunInfo(
        run=dagster_run.run_id,
        root_run=root,
        inputs=context.resource_config["inputs"],
        tags={name: value for name, value in tags.items() if not name.startswith(".")},
        trigger=tags.get(TRIGGER_TAG, "dagster"),
    )
    try:
        return Run(pipeline, info, settings)
    except ElexirionError as error:
        raise dg.Failure(description=str(error), metadata={"cause": error.cause}, allow_retries=False) from error


def run_tags(pipeline: Pipeline) -> dict[str, str]:
    """Tags of the pipeline's job, and so of its runs."""
    return {**pipeline.tags, PIPELINE_TAG: pipeline.name}
