import difflib
import json
from pathlib import Path

import pytest

from elexirion_dagster.compiler.jobs import graph_edges, pipeline_job
from elexirion_dagster.dialects.load import load_any, load_string
from elexirion_dagster.errors import PipelineError
from elexirion_dagster.settings import Settings

TESTS = Path(__file__).parents[1]
GOLDEN = TESTS / "golden"
FILES = [*sorted((TESTS.parent / "pipelines_yaml").glob("*.yaml")), *sorted(GOLDEN.glob("*.yaml"))]


def job_of(pipeline, tmp_path):
    return pipeline_job(pipeline, Settings(home=tmp_path), None, lambda *_: {})


def graph_of(job):
    """Op to upstream ops, read off the Dagster job itself."""
    structure = job.graph.dependency_structure
    return {
        node.name: sorted(
            output.node_name
            for outputs in structure.input_to_upstream_outputs_for_node(node.name).values()
            for output in outputs
        )
        for node in job.graph.nodes
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_graph_of_the_job_is_the_golden_one(file, tmp_path):
    graph = graph_of(job_of(load_any(file).pipeline, tmp_path))
    golden = GOLDEN / f"{file.stem}.json"
    lines = [f'  "{op}": {json.dumps(graph[op])}' for op in sorted(graph)]
    came = ["{", *",\n".join(lines).splitlines(), "}"]
    wanted = golden.read_text(encoding="utf-8").splitlines() if golden.exists() else []
    difference = "\n".join(difflib.unified_diff(wanted, came, str(golden), f"the graph of {file.name}", lineterm=""))
    assert came == wanted, f"\n{difference}\nIf this is as it should be, write the right side to {golden}."


def test_every_op_can_be_built_after_those_it_waits_for():
    for file in FILES:
        seen: set[str] = set()
        for name, upstream in graph_edges(load_any(file).pipeline).items():
            assert set(upstream) <= seen
            seen.add(name)


TWO_STEPS = """
name: told
description: What the **job** says of itself.
tags: {team: blue}
steps:
  - {name: first, type: set, description: Counts., vars: {number: 1}}
  - {name: second, type: llm, prompt: "{{ vars.number }}"}
"""


def test_job_and_ops_carry_the_descriptions_of_the_yaml(tmp_path):
    job = job_of(load_string(TWO_STEPS).pipeline, tmp_path)
    assert job.description == "What the **job** says of itself."
    first, second = (job.graph.node_named(name).definition for name in ("first", "second"))
    assert first.description.startswith("Counts.")
    assert '"prompt": "{{ vars.number }}"' in second.description


def test_job_and_ops_carry_tags(tmp_path):
    job = job_of(load_string(TWO_STEPS).pipeline, tmp_path)
    assert job.tags["team"] == "blue"
    assert job.tags["elexirion/pipeline"] == "told"
    assert "dagster/kind/llm" in job.graph.node_named("second").definition.tags


def test_a_name_that_dagster_keeps_for_itself_is_an_error_of_the_pipeline(tmp_path):
    pipeline = load_string("name: told\nsteps:\n- {name: first, type: set, vars: {number: 1}}\n").pipeline
    with pytest.raises(PipelineError, match="Dagster cannot take config"):
        job_of(pipeline.model_copy(update={"name": "config"}), tmp_path)
