"""Ticks: at the right hour, for every repository that can be scanned, and once per commit that was pushed."""

import itertools
import subprocess
from datetime import datetime
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from elexirion_dagster.codebase.identity import repository
from elexirion_dagster.compiler.compile import compile_files
from elexirion_dagster.execution.executor import thread_executor
from elexirion_dagster.scan.plan import scope_digest
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.nights.scan_lock import scanning

TEXT = """
name: watch
inputs: {{repo: {{type: path, default: .}}}}
repos: {repos}
partitions: {{by: file{more}}}
schedule: {{cron: "30 2 * * *", timezone: Europe/Berlin}}
on: push
steps:
  - {{name: due, type: files, list: {{git: due}}}}
"""


def git(folder, *words):
    command = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def code(tmp_path):
    """Make a repository with one commit."""

    def make(name):
        folder = tmp_path / name
        folder.mkdir()
        git(folder, "init", "-q", "-b", "main")
        (folder / "a.py").write_text("1\n")
        git(folder, "add", ".")
        git(folder, "commit", "-qm", "first")
        return folder

    return make


@pytest.fixture
def instance(tmp_path):
    folder = tmp_path / "instance"
    folder.mkdir()
    with dg.instance_for_test(temp_dir=str(folder)) as instance:
        yield instance


@pytest.fixture
def location(tmp_path):
    """The code location of a pipeline over these repositories."""

    def make(*folders, more=""):
        file = tmp_path / "watch.yaml"
        file.write_text(TEXT.format(repos=[str(folder) for folder in folders], more=more))
        settings = Settings(home=tmp_path / "home")
        defs = compile_files([file], settings, executor=thread_executor, finish=lambda *_: {})
        return defs.get_repository_def()

    return make


def tick(location, instance):
    context = dg.build_schedule_context(instance=instance)
    return location.get_schedule_def("watch_schedule").evaluate_tick(context)


def push(location, instance, cursor=None):
    context = dg.build_sensor_context(instance=instance, cursor=cursor, repository_def=location)
    return location.get_sensor_def("watch_push").evaluate_tick(context)


def scan(location, instance, requests):
    job = location.get_job("watch")
    for one in requests:
        assert job.execute_in_process(run_config=one.run_config, instance=instance, tags=one.tags).success


@pytest.mark.parametrize(("month", "day"), [(3, 29), (10, 25)], ids=["skipped", "repeated"])
def test_an_hour_that_daylight_saving_skips_or_repeats_has_one_tick(location, code, month, day):
    schedule = location(code("one")).get_schedule_def("watch_schedule")
    night = datetime(2026, month, day, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    times = schedule_execution_time_iterator(night, schedule.cron_schedule, schedule.execution_timezone)
    ticks = [time for time in itertools.islice(times, 3) if time.timestamp() < night + 23 * 3600]
    assert len(ticks) == 1


def test_every_repository_is_scanned_and_one_that_cannot_be_is_named(location, code, instance, tmp_path):
    one, two = code("one"), code("two")
    where = location(one, tmp_path / "nowhere", two)
    requests = tick(where, instance).run_requests
    assert [request.run_config["repo"] for request in requests] == [str(one), str(two)]
    scan(where, instance, requests)
    assert (
        f"{tmp_path / 'nowhere'}: not scanned: {tmp_path / 'nowhere'} is no folder"
        in tick(where, instance).skip_message
    )


@pytest.mark.parametrize(
    ("more", "expected"),
    [(", branch: gone", "has no branch 'gone'"), (", fetch: true", "no remote called origin")],
    ids=["branch_gone", "no_remote"],
)
def test_a_branch_that_is_not_there_is_a_clear_word(location, code, instance, more, expected):
    assert expected in tick(location(code("one"), more=more), instance).skip_message


def test_a_push_starts_one_scan_per_commit_and_repository(location, code, instance):
    one, two = code("one"), code("two")
    where = location(one, two)
    first = push(where, instance)
    assert len(first.run_requests) == 2
    scan(where, instance, first.run_requests)
    assert push(where, instance, first.cursor).run_requests == []
    (one / "b.py").write_text("2\n")
    git(one, "add", ".")
    git(one, "commit", "-qm", "second")
    second = push(where, instance, first.cursor)
    assert [request.run_config["batch"]["files"] for request in second.run_requests] == [["b.py"]]


def test_a_push_while_a_scan_is_under_way_is_scanned_later(location, code, instance, tmp_path):
    folder = code("one")
    where = location(folder)
    home = open_home(tmp_path / "home")
    scope = scope_digest("watch", repository(folder).identity)
    with scanning(home, scope, run="other", alone=True, wait_s=0):
        blocked = push(where, instance)
    assert blocked.run_requests == []
    assert "run other" in blocked.skip_message
    assert len(push(where, instance, blocked.cursor).run_requests) == 1


def test_fetching_reads_the_remotes_branch_and_leaves_the_working_tree_alone(location, code, instance, tmp_path):
    origin = code("origin")
    git(tmp_path, "clone", "-q", str(origin), "clone")
    (origin / "b.py").write_text("2\n")
    git(origin, "add", ".")
    git(origin, "commit", "-qm", "second")
    (request,) = tick(location(tmp_path / "clone", more=", fetch: true"), instance).run_requests
    assert request.run_config["batch"]["commit"] == git(origin, "rev-parse", "HEAD")
    assert request.run_config["batch"]["files"] == ["a.py", "b.py"]
    assert not (tmp_path / "clone" / "b.py").exists()


def test_a_push_is_fetched_once_and_scanned_as_fetched(location, code, instance, tmp_path, monkeypatch):
    origin = code("origin")
    git(tmp_path, "clone", "-q", str(origin), "clone")
    (origin / "b.py").write_text("2\n")
    git(origin, "add", ".")
    git(origin, "commit", "-qm", "second")
    (tmp_path / ".gitconfig").write_text(f"[trace2]\n\teventTarget = {tmp_path / 'trace'}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    (request,) = push(location(tmp_path / "clone", more=", fetch: true"), instance).run_requests
    assert request.run_config["batch"]["commit"] == git(origin, "rev-parse", "HEAD")
    assert (tmp_path / "trace").read_text().count('"hierarchy":"fetch"') == 1


def test_a_bare_repository_is_scanned_at_its_branch_and_a_push_to_it_is_seen(location, code, instance, tmp_path):
    mine, server = code("mine"), tmp_path / "server.git"
    git(tmp_path, "clone", "-q", "--bare", str(mine), str(server))
    git(server, "remote", "remove", "origin")
    where = location(server)
    first = push(where, instance)
    assert [request.run_config["batch"]["files"] for request in first.run_requests] == [["a.py"]]
    scan(where, instance, first.run_requests)
    (mine / "b.py").write_text("2\n")
    git(mine, "add", ".")
    git(mine, "commit", "-qm", "second")
    git(mine, "push", "-q", str(server), "main")
    (request,) = push(where, instance, first.cursor).run_requests
    assert request.run_config["batch"]["commit"] == git(mine, "rev-parse", "HEAD")
    assert request.run_config["batch"]["files"] == ["b.py"]
