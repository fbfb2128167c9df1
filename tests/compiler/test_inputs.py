import dagster as dg
import pytest
from dagster._core.execution.api import create_execution_plan
from dagster._core.system_config.objects import ResolvedRunConfig

from elexirion_dagster.compiler.jobs import pipeline_job
from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.inputs import complete_inputs
from elexirion_dagster.settings import Settings

TEXT = """
name: typed
inputs:
  goal: {type: string, description: What to look for}
  repo: {type: path, default: "."}
  count: {type: integer, default: 3}
  share: {type: number, default: 1}
  deep: {type: boolean, default: false}
  words: {type: list, default: [a, 1]}
  table: {type: object, default: {a: 1}}
  mood: {type: string, enum: [calm, wild], default: calm}
  limit: {type: integer, default: null}
steps:
  - {name: seen, type: set, vars: {goal: "{{ inputs.goal }}"}}
"""


@pytest.fixture(scope="module")
def pipeline():
    return load_string(TEXT).pipeline


@pytest.fixture(scope="module")
def job(pipeline, tmp_path_factory):
    return pipeline_job(pipeline, Settings(home=tmp_path_factory.mktemp("home")), None, lambda *_: {})


@pytest.fixture(scope="module")
def fields(job):
    return job.config_mapping.config_schema.config_type.fields


def test_the_launchpad_shows_types_defaults_and_descriptions(fields):
    kinds = {name: field.config_type.given_name or field.config_type.kind.name for name, field in fields.items()}
    assert kinds == {
        "goal": "String",
        "repo": "String",
        "count": "Int",
        "share": "Float",
        "deep": "Bool",
        "words": "ARRAY",
        "table": "PERMISSIVE_SHAPE",
        "mood": "typed.mood",
        "limit": "NONEABLE",
    }
    assert fields["goal"].is_required
    assert fields["goal"].description == "What to look for"
    assert {name: field.default_value for name, field in fields.items() if not field.is_required} == {
        "repo": ".",
        "count": 3,
        "share": 1.0,
        "deep": False,
        "words": ["a", 1],
        "table": {"a": 1},
        "mood": "calm",
        "limit": None,
    }


def test_the_launchpad_offers_the_allowed_values(fields):
    assert [value.config_value for value in fields["mood"].config_type.enum_values] == ["calm", "wild"]


@pytest.mark.parametrize(
    "config",
    [
        {"goal": "bugs"},
        {"goal": "bugs", "share": 2},
        {"goal": "bugs", "limit": None},
        {"goal": "bugs", "limit": 4, "mood": "wild", "words": [], "table": {}},
    ],
)
def test_right_inputs_are_taken(job, config):
    create_execution_plan(job, config)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"goal": None},
        {"goal": 3},
        {"goal": "bugs", "unknown": 1},
        {"goal": "bugs", "count": "three"},
        {"goal": "bugs", "count": 1.5},
        {"goal": "bugs", "deep": "yes"},
        {"goal": "bugs", "mood": "angry"},
        {"goal": "bugs", "words": {"a": 1}},
        {"goal": "bugs", "table": [1]},
        {"goal": "bugs", "limit": "none"},
    ],
    ids=str,
)
def test_wrong_inputs_are_refused_before_the_run_is_launched(job, config):
    with pytest.raises(dg.DagsterInvalidConfigError):
        create_execution_plan(job, config)


def test_defaults_reach_the_run_as_the_pipeline_declares_them(job, pipeline):
    given = ResolvedRunConfig.build(job, {"goal": "bugs"}).resources["run"].config["inputs"]
    assert complete_inputs(pipeline, given) == complete_inputs(pipeline, {"goal": "bugs"})
