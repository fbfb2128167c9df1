"""Pipelines made up at random give the same in Dagster as step by step without it."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from random_pipelines import Maker

from elexirion_dagster.compiler.jobs import graph_edges, pipeline_job
from elexirion_dagster.compiler.ops import OUTPUTS
from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.execution.executor import thread_executor
from elexirion_dagster.records import StepResult
from elexirion_dagster.run import Run, RunInfo
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.journal import lines

pytestmark = pytest.mark.slow

BATCHES, IN_ONE = 10, 30
UNTOLD = {"duration_s", "started_at"}


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral(str(tmp_path_factory.mktemp("dagster"))) as instance:
        yield instance


def bare(pipeline: Pipeline, home: Path, run_id: str) -> None:
    """Every step whose forerunners are done, in program order, and then the outputs."""
    run = Run(pipeline, RunInfo(run_id, run_id, {}, {}, "test"), Settings(home=home, model="fake"))
    try:
        results: dict[str, StepResult] = {}
        graph = graph_edges(pipeline)
        steps = {step.name: step for step in pipeline.steps}
        for name, before in graph.items():
            if any(dep not in results for dep in before):
                continue
            upstream = {dep: results[dep] for dep in before}
            if name == OUTPUTS:
                run.outputs(upstream)
                continue
            result = StepResult.from_json(run.step(steps[name], upstream).to_json())
            if result.status != "failed" or steps[name].continue_on_error:
                results[name] = result
    except ElexirionError:
        pass  # outputs that refer to what failed: Dagster's run has none either
    finally:
        run.close()


def in_dagster(pipeline: Pipeline, home: Path, run_id: str, instance: dg.DagsterInstance) -> None:
    job = pipeline_job(pipeline, Settings(home=home, model="fake"), thread_executor, lambda *_: {})
    execute_run(InMemoryJob(job), instance.create_run_for_job(job_def=job, run_id=run_id, run_config={}), instance)


def told(home: Path, run_id: str) -> dict[str, Any]:
    """What each step came to and the outputs, without what time and place make of them."""
    found: dict[str, Any] = {}
    for line in lines(Home(home), run_id):
        if line["kind"] == "step":
            found[line["path"]] = line["status"], comparable(line["result"], home, run_id)
        elif line["kind"] == "outputs":
            found["outputs"] = comparable(line["outputs"], home, run_id)
    return found


def comparable(value: Any, home: Path, run_id: str) -> Any:
    if isinstance(value, dict):
        return {key: comparable(inner, home, run_id) for key, inner in value.items() if key not in UNTOLD}
    if isinstance(value, list):
        return [comparable(inner, home, run_id) for inner in value]
    return value.replace(str(home), "HOME").replace(run_id, "RUN") if isinstance(value, str) else value


@pytest.mark.parametrize("batch", range(BATCHES))
def test_dagster_and_the_bare_runner_come_to_the_same(batch: int, tmp_path: Path, instance: dg.DagsterInstance) -> None:
    statuses = set()
    for seed in range(batch * IN_ONE, (batch + 1) * IN_ONE):
        document = Maker(seed).pipeline(f"made_{seed}")
        pipeline = load_string(json.dumps(document)).pipeline
        run_id = str(uuid.uuid4())
        bare(pipeline, tmp_path / "bare", run_id)
        in_dagster(pipeline, tmp_path / "dagster", run_id, instance)
        with_it, without = told(tmp_path / "dagster", run_id), told(tmp_path / "bare", run_id)
        assert with_it == without, f"seed {seed}:\n{json.dumps(document, indent=1)}"
        statuses |= {step[0] for path, step in without.items() if path != "outputs"}
    assert {"succeeded", "failed", "skipped"} <= statuses
