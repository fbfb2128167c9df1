import subprocess
from pathlib import Path

import pytest

from elexirion_dagster.compiler.jobs import graph_edges, pipeline_job
from elexirion_dagster.dialects.load import load_any
from elexirion_dagster.settings import Settings

SHIPPED = sorted((Path(__file__).parents[1] / "pipelines_yaml").glob("*.yaml"))


@pytest.fixture(params=SHIPPED, ids=lambda path: path.stem)
def shipped(request):
    return request.param


def test_it_loads_without_a_doubt(shipped):
    loaded = load_any(shipped)
    assert loaded.pipeline.name == shipped.stem
    assert loaded.warnings == []
    assert loaded.pipeline.description


def test_it_compiles_to_a_job_whose_graph_is_the_file(shipped, home_path):
    pipeline = load_any(shipped).pipeline
    job = pipeline_job(pipeline, Settings(home=home_path), None, lambda _run, _outputs: {})
    names = {node.name for node in job.nodes}
    assert names == {*(step.name for step in pipeline.steps), *(["outputs"] if pipeline.outputs else [])}
    assert set(graph_edges(pipeline)) == names


@pytest.mark.parametrize("model", ["fake", "none"])
def test_it_runs_on_the_fake_and_without_a_model(shipped, model, start, git_repository):
    text = shipped.read_text()
    (git_repository / "pool.ex").write_text("defmodule Pool do\n  def stop(pid), do: Process.exit(pid, :kill)\nend\n")
    subprocess.run(["git", "add", "pool.ex"], cwd=git_repository, check=True)
    pipeline = load_any(shipped).pipeline
    inputs = {name: str(git_repository) for name, declared in pipeline.inputs.items() if declared.type == "path"}
    rehearsed = start(text, tags={"elexirion/model": model}, **inputs)
    results = rehearsed.all()
    assert {name: result.error for name, result in results.items() if result.status == "failed"} == {}
    assert results.keys() == {step.name for step in pipeline.steps}
    outputs = rehearsed.run.outputs(results)
    assert outputs.keys() == pipeline.outputs.keys()
    assert (rehearsed.lines("intent") != []) == (model == "fake")


@pytest.mark.parametrize("model", ["fake", "none"])
def test_an_empty_folder_is_no_failure(shipped, model, start, tmp_path):
    (tmp_path / "empty").mkdir()
    pipeline = load_any(shipped).pipeline
    inputs = {name: str(tmp_path / "empty") for name, given in pipeline.inputs.items() if given.type == "path"}
    if not inputs:
        pytest.skip("it looks at no folder")
    rehearsed = start(shipped.read_text(), tags={"elexirion/model": model}, **inputs)
    outputs = rehearsed.run.outputs(rehearsed.all())
    assert (outputs["findings"], outputs["files"], outputs["reviews"]) == ([], 0, [])
