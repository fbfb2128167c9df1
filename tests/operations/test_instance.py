import os
import stat
from pathlib import Path

import dagster as dg
import pytest

from elexirion_dagster.execution import workers
from elexirion_dagster.operations.instance import dagster_environment, init, prune, workspace_file
from elexirion_dagster.settings import Settings
from elexirion_dagster.yamlio import load_file


@pytest.fixture
def settings(home_path):
    return Settings(home=home_path)


def test_the_instance_is_one_that_dagster_takes(settings):
    done = init(settings)
    assert done.written
    with dg.DagsterInstance.from_config(str(done.home.dagster)) as instance:
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        assert not instance.run_retries_enabled
        assert instance.run_monitoring_enabled
        assert type(instance.run_coordinator).__name__ == "QueuedRunCoordinator"


def test_settings_that_a_user_changed_stay(settings):
    config = init(settings).config
    config.write_text("telemetry: {enabled: false}\n")
    assert not init(settings).written
    assert config.read_text() == "telemetry: {enabled: false}\n"


def test_home_and_files_are_the_users_alone(settings):
    done = init(settings)
    assert stat.S_IMODE(done.home.path.stat().st_mode) == 0o700
    for file in (done.config, workspace_file(done.home, {})):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_workspace_names_each_location_and_where_it_is_served(settings):
    entries = load_file(workspace_file(init(settings).home, {"one": Path("/a/one"), "two": Path("/a/two")})).data
    assert entries == {
        "load_from": [
            {"grpc_server": {"socket": "/a/one", "location_name": "one"}},
            {"grpc_server": {"socket": "/a/two", "location_name": "two"}},
        ]
    }


def test_the_written_settings_let_more_than_a_hundred_runs_of_one_pipeline_and_model_work_at_once(settings):
    with dg.DagsterInstance.from_config(str(init(settings).home.dagster)) as instance:
        limits = instance.get_concurrency_config().run_queue_config
        assert limits.max_concurrent_runs > 100
        assert {limit["key"]: limit["limit"] > 100 for limit in limits.tag_concurrency_limits} == {
            "elexirion/lane": True,
            "elexirion/lane_of": True,
            "elexirion/model": True,
        }
        assert type(instance.run_launcher).__name__ == "WarmRunLauncher"


def test_dagsters_programs_get_this_homes_instance_and_no_telemetry(settings):
    home = init(settings).home
    environment = dagster_environment(home, {"PATH": "/bin", "DAGSTER_HOME": "/elsewhere"})
    assert environment["PATH"] == "/bin"
    assert environment["DAGSTER_HOME"] == str(home.dagster)
    assert environment["ELEXIRION_HOME"] == str(home.path)
    assert environment["DAGSTER_DISABLE_TELEMETRY"] == "yes"


def test_prune_removes_old_workspaces_and_keeps_the_journal(settings):
    home = init(settings).home
    (home.runs / "old").mkdir()
    (home.journal / "old").mkdir()
    workers.leave(home.dagster / workers.WORKERS, "old")
    os.utime(home.dagster / workers.WORKERS / "old.lock", (0, 0))
    assert prune(settings, days=0).workspaces == 1
    assert not list((home.dagster / workers.WORKERS).iterdir())
    assert not (home.runs / "old").exists()
    assert (home.journal / "old").is_dir()
