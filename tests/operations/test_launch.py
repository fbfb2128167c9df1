import dagster as dg
import pytest

from elexirion_dagster.errors import PipelineError
from elexirion_dagster.operations.launch import execute
from elexirion_dagster.settings import Settings

RUN = "0a0a0a0a-0000-4000-8000-000000000001"
GOOD = "name: good\nsteps:\n- {name: a, type: set, vars: {x: 1}}\noutputs: {x: '{{ vars.x }}'}\n"


@pytest.fixture
def run(tmp_path, home_path):
    """Run a text as the pipeline of that name."""

    def go(text):
        file = tmp_path / "good.yaml"
        file.write_text(text, encoding="utf-8")
        return execute(file, {}, run_id=RUN, tags={"team": "blue"}, settings=Settings(home=home_path))

    return go


def test_a_run_of_the_command_line_is_one_of_the_instance_that_the_ui_shows(run, home_path):
    assert run(GOOD).outputs == {"x": 1}
    with dg.DagsterInstance.from_config(str(home_path / "dagster")) as instance:
        recorded = instance.get_run_by_id(RUN)
    assert recorded.status is dg.DagsterRunStatus.SUCCESS
    assert recorded.job_name == "good"
    assert recorded.tags["elexirion/pipeline"] == "good"
    assert recorded.tags["elexirion/trigger"] == "cli"
    assert recorded.tags["team"] == "blue"
    assert recorded.tags[".dagster/repository"] == "__repository__@elexirion_dagster"


def test_a_broken_pipeline_leaves_no_run_behind(run, home_path):
    with pytest.raises(PipelineError):
        run("[")
    with dg.DagsterInstance.from_config(str(home_path / "dagster")) as instance:
        assert instance.get_runs_count() == 0
