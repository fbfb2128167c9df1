import json

import pytest

from elexirion_dagster.errors import StorageError
from elexirion_dagster.operations.instance import init
from elexirion_dagster.operations.launch import execute
from elexirion_dagster.operations.opened import open_instance
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.host import Host
from elexirion_dagster.store.hub import check_instance, claim_instance

ELSEWHERE = Host("m2", "b2", "elsewhere")
HELLO = "name: hello\nsteps: [{name: greet, type: command, run: [echo, hello]}]\n"


@pytest.fixture
def settings(home_path):
    return Settings(home=home_path)


@pytest.fixture
def shared(settings, tmp_path):
    """An instance whose storage several machines could reach."""
    storage = {"custom": {"module": "shared_storage", "class": "SharedStorage", "config": {"base_dir": str(tmp_path)}}}
    init(settings).config.write_text(json.dumps({"storage": storage, "telemetry": {"enabled": False}}))
    with open_instance(settings) as (_, instance):
        yield instance


def serve_elsewhere(instance):
    instance.daemon_cursor_storage.set_cursor_values({"elexirion/host": json.dumps(ELSEWHERE.to_json())})


@pytest.fixture
def finished(settings, tmp_path):
    def run():
        file = tmp_path / "hello.yaml"
        file.write_text(HELLO, encoding="utf-8")
        return execute(file, {}, run_id="0a0a0a0a-0000-4000-8000-000000000001", tags={}, settings=settings)

    return run


def test_a_run_on_another_machine_than_the_one_that_serves_the_instance_fails_with_the_way_out(shared, finished):
    serve_elsewhere(shared)
    done = finished()
    assert (done.status, done.cause) == ("failed", "storage")
    assert "'elsewhere'" in done.message
    assert "elexirion up" in done.message


def test_the_first_run_settles_which_machine_serves_a_shared_instance(shared, finished):
    assert finished().status == "succeeded"
    assert claim_instance(shared) is None
    check_instance(shared)


def test_who_serves_it_takes_it_over_and_learns_from_whom(shared):
    serve_elsewhere(shared)
    with pytest.raises(StorageError):
        check_instance(shared)
    assert claim_instance(shared) == ELSEWHERE
    check_instance(shared)


def test_the_files_of_a_home_need_no_such_word(settings):
    init(settings)
    with open_instance(settings) as (_, instance):
        serve_elsewhere(instance)
        check_instance(instance)


@pytest.mark.parametrize("text", ["", "{}", "[]", "no json"])
def test_a_damaged_word_is_written_again(shared, text):
    shared.daemon_cursor_storage.set_cursor_values({"elexirion/host": text})
    check_instance(shared)
    serve = shared.daemon_cursor_storage.get_cursor_values({"elexirion/host"})
    assert Host.from_json(json.loads(serve["elexirion/host"])).name
