import dagster as dg
import pytest

from elexirion_dagster.compiler.compile import compile_files
from elexirion_dagster.execution.executor import thread_executor
from elexirion_dagster.settings import Settings

GOOD = """
name: {name}
steps:
- {{name: same, type: set, vars: {{number: 1}}}}
outputs: {{number: '{{{{ vars.number }}}}'}}
"""


@pytest.fixture
def compiled(tmp_path):
    """Compile texts by file name, as a code location does."""

    def compile_texts(texts):
        files = []
        for name, text in texts.items():
            files.append(tmp_path / name)
            files[-1].write_bytes(text if isinstance(text, bytes) else text.encode())
        settings = Settings(home=tmp_path / "home")
        defs = compile_files(files, settings, executor=thread_executor, finish=lambda *_: {})
        dg.Definitions.validate_loadable(defs)
        return defs.get_repository_def()

    return compile_texts


def names(repository):
    return {job.name for job in repository.get_all_jobs()}


def test_pipelines_with_steps_of_the_same_name_load_side_by_side(compiled):
    texts = {f"{name}.yaml": GOOD.format(name=name) for name in ("one", "two")}
    assert names(compiled(texts)) == {"one", "two"}


@pytest.mark.parametrize(
    "text",
    ["[", "{{{", "", "name: wrong\n", b"\xff\xfe", "name: bad\nsteps:\n- {name: a, type: nothing}\n"],
    ids=["torn", "braces", "empty", "no_steps", "not_utf8", "unknown_type"],
)
def test_a_broken_file_becomes_a_job_that_says_so_while_the_others_load(compiled, text):
    repository = compiled({"bad.yaml": text, "good.yaml": GOOD.format(name="good")})
    assert names(repository) == {"good", "bad__broken"}
    description = repository.get_job("bad__broken").description
    assert "cannot be used" in description
    assert "bad.yaml" in description


def test_several_broken_files_and_one_that_has_their_name_all_have_jobs(compiled):
    texts = {"my-file.yaml": "[", "my_file.yaml": "[", "my.file.yml": "[", "ünï.yaml": "["}
    repository = compiled({**texts, "my_file__broken.yaml": GOOD.format(name="my_file__broken")})
    broken = {"my_file__broken_2", "my_file__broken_3", "my_file__broken_4", "_n___broken"}
    assert names(repository) == {"my_file__broken", *broken}
    assert repository.get_job("my_file__broken").description is None


@pytest.mark.parametrize(
    ("name", "extra"),
    [("config", ""), ("impossible", "schedule: {cron: '0 2 31 2 *'}\n")],
    ids=["reserved_name", "date_that_never_comes"],
)
def test_what_only_dagster_refuses_is_a_broken_job_too(compiled, name, extra):
    repository = compiled({f"{name}.yaml": GOOD.format(name=name) + extra, "good.yaml": GOOD.format(name="good")})
    assert names(repository) == {"good", f"{name}__broken"}


def test_the_run_of_a_broken_job_fails_with_the_error_and_its_cause(compiled, tmp_path):
    job = compiled({"bad.yaml": "["}).get_job("bad__broken")
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        result = job.execute_in_process(instance=instance, raise_on_error=False)
    failure = result.failure_data_for_node("show_error").user_failure_data
    assert "not valid YAML" in failure.description
    assert failure.metadata["cause"].value == "bad_pipeline"


def test_a_schedule_is_stopped_until_somebody_starts_it(compiled):
    text = GOOD.format(name="timed") + "schedule: {cron: '0 2 * * *', timezone: Europe/Berlin}\n"
    (schedule,) = compiled({"timed.yaml": text}).schedule_defs
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    assert (schedule.name, schedule.cron_schedule) == ("timed_schedule", "0 2 * * *")
    assert schedule.execution_timezone == "Europe/Berlin"


def test_a_pipeline_with_required_inputs_has_no_schedule(compiled):
    text = GOOD.format(name="timed") + "schedule: {cron: '0 2 * * *'}\ninputs: {goal: {type: string}}\n"
    assert compiled({"timed.yaml": text}).schedule_defs == []
