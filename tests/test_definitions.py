import subprocess
import sys

import dagster as dg
import pytest

from elexirion_dagster import definitions
from elexirion_dagster.dialects.load import load_any
from elexirion_dagster.dialects.lookup import shipped
from elexirion_dagster.operations.launch import execute
from elexirion_dagster.settings import Settings
from optimizer_assets import definitions as optimizer

HEAVY = ("duckdb", "dspy", "litellm", "anthropic", "httpx", "openai", "google.genai")
LOAD = """
import sys, dagster as dg, {module} as module
repository = module.defs().get_repository_def()
dg.Definitions.validate_loadable(module.defs())
print(*sorted(sys.modules))
"""


@pytest.mark.parametrize("module", ["elexirion_dagster.definitions", "optimizer_assets.definitions"])
def test_loading_a_code_location_imports_no_database_and_no_model_library(module, environ, tmp_path):
    command = [sys.executable, "-c", LOAD.format(module=module)]
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "dagster" in loaded
    assert not loaded & set(HEAVY)


def test_every_shipped_pipeline_is_a_job_with_our_executor(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    repository = definitions.defs().get_repository_def()
    jobs = {job.name: job for job in repository.get_all_jobs()}
    assert "nightly_scan" in jobs
    assert not [name for name in jobs if "__broken" in name]
    assert {job.executor_def.name for job in jobs.values()} == {"threads"}


def test_pipelines_of_a_named_folder_replace_shipped_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ELEXIRION_PIPELINES", "pipelines_yaml")
    folder = tmp_path / "pipelines_yaml"
    folder.mkdir()
    text = "name: nightly_scan\ndescription: mine\nsteps:\n- {name: a, type: set, vars: {x: 1}}\n"
    (folder / "nightly_scan.yaml").write_text(text)
    (folder / "torn.yaml").write_text("[")
    repository = definitions.defs().get_repository_def()
    assert repository.get_job("nightly_scan").description == "mine"
    assert repository.has_job("torn__broken")


def test_a_pipeline_of_the_current_folder_replaces_none_and_that_is_said_at_the_start(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "pipelines_yaml"
    folder.mkdir()
    text = 'name: nightly_scan\nschedule: "30 2 * * *"\nsteps:\n- {name: a, type: set, vars: {x: 1}}\n'
    (folder / "nightly_scan.yaml").write_text(text)
    repository = definitions.defs().get_repository_def()
    assert "ELEXIRION_PIPELINES" in caplog.text
    assert not repository.has_job("nightly_scan")
    broken = repository.get_job("nightly_scan__broken")
    for file in (folder / "nightly_scan.yaml", shipped() / "nightly_scan.yaml"):
        assert str(file) in broken.description


def test_the_optimizer_says_what_it_needs_and_loads_without_it():
    assert "dspy" in optimizer.optimizer_note()
    repository = optimizer.defs().get_repository_def()
    key = dg.AssetKey(["outcomes", "nightly_scan"])
    assert optimizer.optimizer_note() in repository.assets_defs_by_key[key].descriptions_by_key[key]


ASKING = """
name: asking
model: fake/parrot
steps:
  - {name: one, type: llm, prompt: Say one.}
  - {name: two, type: llm, prompt: Say two.}
"""


def test_the_asset_of_a_pipeline_counts_what_its_model_calls_came_to(tmp_path, home_path):
    file = tmp_path / "asking.yaml"
    file.write_text(ASKING, encoding="utf-8")
    settings = Settings(home=home_path)
    run_id = "0a0a0a0a-0000-4000-8000-000000000001"
    assert execute(file, {}, run_id=run_id, tags={}, settings=settings).status == "succeeded"
    asset = optimizer.outcomes_asset(load_any(file).pipeline, "")
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        result = dg.materialize([asset], instance=instance)
    (made,) = result.asset_materializations_for_node(asset.op.name)
    assert (made.metadata["outcomes"].value, made.metadata["succeeded"].value) == (2, 2)
    assert {record.data["step"] for record in made.metadata["by_step"].records} == {"one", "two"}


def test_assets_of_the_optimizer_run_in_one_process():
    executor = optimizer.defs().get_repository_def().get_implicit_global_asset_job_def().executor_def
    assert executor.name == "in_process"
