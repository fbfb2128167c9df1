"""One pipeline as one job."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypedDict

import dagster as dg
from dagster._core.definitions.dependency import IDependencyDefinition
from dagster_shared.check import CheckError

from elexirion_dagster.compiler.inputs import config_mapping
from elexirion_dagster.compiler.metadata import described, fenced
from elexirion_dagster.compiler.ops import IO_MANAGER, OUTPUTS, Finish, definition_name, input_name, outputs_op, step_op
from elexirion_dagster.compiler.resources import RUN, run_resource, run_tags
from elexirion_dagster.compiler.values import json_io_manager
from elexirion_dagster.errors import ElexirionError, PipelineError, Problem
from elexirion_dagster.expressions import Engine
from elexirion_dagster.scan.target import tells_of_files
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.children import NO_PIPELINES, Pipelines
from elexirion_dagster.spec.edges import edges, outputs_edges
from elexirion_dagster.spec.pipeline import Pipeline


def graph_edges(pipeline: Pipeline, pipelines: Pipelines = NO_PIPELINES) -> dict[str, tuple[str, ...]]:
    """The edges of the job's graph by op, the op of the outputs included, in an order in which each op can be built."""
    engine = Engine()
    graph = edges(pipeline.steps, engine, pipelines)
    if pipeline.outputs or pipeline.partitions:
        told = {step.name for step in pipeline.steps if pipeline.partitions and tells_of_files(step)}
        needed = told.union(outputs_edges(pipeline, graph, engine))
        graph = {**graph, OUTPUTS: tuple(name for name in graph if name in needed)}
    return _topological(graph)


def _topological(graph: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    ordered: dict[str, tuple[str, ...]] = {}

    def place(name: str) -> None:
        if name not in ordered:
            for dep in graph[name]:
                place(dep)
            ordered[name] = graph[name]

    for name in graph:
        place(name)
    return ordered


class Nodes(TypedDict):
    """The ops of a pipeline and how they hang together, as a graph definition takes them."""

    node_defs: list[dg.OpDefinition]
    dependencies: Mapping[dg.NodeInvocation, Mapping[str, IDependencyDefinition]]


@contextmanager
def refusals_told(pipeline: Pipeline) -> Iterator[None]:
    """Turn what Dagster says against a pipeline into a PipelineError."""
    try:
        yield
    except (dg.DagsterError, CheckError) as error:
        raise PipelineError([Problem(f"Dagster cannot take {pipeline.name}: {error}")]) from error


def pipeline_job(
    pipeline: Pipeline,
    settings: Settings,
    executor: dg.ExecutorDefinition | None,
    finish: Finish,
    pipelines: Pipelines = NO_PIPELINES,
    *,
    file: str | None = None,
) -> dg.JobDefinition:
    """The job: its graph is the YAML, its config the declared inputs. Raises PipelineError where Dagster refuses it."""
    return job_of(pipeline, nodes_of(pipeline, finish, pipelines), settings, executor, pipelines, file=file)


def job_of(
    pipeline: Pipeline,
    nodes: Nodes,
    settings: Settings,
    executor: dg.ExecutorDefinition | None,
    pipelines: Pipelines = NO_PIPELINES,
    *,
    file: str | None = None,
) -> dg.JobDefinition:
    """The job over ops that were made already."""
    with refusals_told(pipeline):
        return dg.GraphDefinition(name=pipeline.name, description=described(pipeline.description), **nodes).to_job(
            name=pipeline.name,
            description=described(pipeline.description),
            resource_defs={RUN: run_resource(pipeline, settings, pipelines), IO_MANAGER: json_io_manager},
            config=config_mapping(pipeline, settings),
            tags=run_tags(pipeline, file),
            executor_def=executor,
        )


def nodes_of(pipeline: Pipeline, finish: Finish, pipelines: Pipelines = NO_PIPELINES) -> Nodes:
    """The ops of a pipeline, in the order of its graph. Raises PipelineError where Dagster refuses one."""
    graph = graph_edges(pipeline, pipelines)
    by_name = {step.name: step for step in pipeline.steps}
    with refusals_told(pipeline):
        return Nodes(
            node_defs=[
                step_op(pipeline, by_name[name], deps) if name in by_name else outputs_op(pipeline, deps, finish)
                for name, deps in graph.items()
            ],
            dependencies={
                dg.NodeInvocation(definition_name(pipeline, name), alias=name): {
                    input_name(dep): dg.DependencyDefinition(dep) for dep in deps
                }
                for name, deps in graph.items()
            },
        )


def broken_job(name: str, error: Exception, executor: dg.ExecutorDefinition | None) -> dg.JobDefinition:
    """Stands for a file that cannot be used: its description and its run carry the error."""
    ours = error if isinstance(error, ElexirionError) else ElexirionError(f"{type(error).__name__}: {error}")
    text = str(described(str(ours)))

    def compute(_context: dg.OpExecutionContext, _inputs: object) -> None:
        raise dg.Failure(text, metadata={"cause": ours.cause}, allow_retries=False)

    op = dg.OpDefinition(name=f"show_error_OF_{name}", compute_fn=compute, outs={}, description=text)
    description = f"**This pipeline cannot be used.**\n\n{fenced(text)}"
    invocation = dg.NodeInvocation(op.name, alias="show_error")
    graph = dg.GraphDefinition(name=name, node_defs=[op], dependencies={invocation: {}}, description=description)
    return graph.to_job(description=description, executor_def=executor, tags={"elexirion/broken": "true"})
