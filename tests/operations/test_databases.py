import shutil
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from elexirion_dagster.errors import StorageError
from elexirion_dagster.operations.databases import DATABASES, storage_folder
from elexirion_dagster.operations.instance import init
from elexirion_dagster.operations.opened import open_instance, read_all
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.home import Home, open_home

RUINED = Path(__file__).parents[1] / "data" / "ruined_instances"
"""What 0.1 left behind when thirty `elexirion run` began a home together: `tar` of the instance's three databases."""


@pytest.fixture
def settings(home_path):
    return Settings(home=home_path)


def stamps(database):
    with closing(sqlite3.connect(database)) as connection:
        return [row[0] for row in connection.execute("SELECT version_num FROM alembic_version")]


def alter(database, sql):
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(sql)
        connection.commit()


def is_in_order(settings):
    with open_instance(settings) as (home, instance):
        read_all(instance)
        return all(len(stamps(home.dagster / name)) == 1 for name in DATABASES)


def test_init_makes_all_databases_and_leaves_nothing_beside_them(settings):
    home = init(settings).home
    assert sorted(path.name for path in home.dagster.iterdir()) == ["dagster.yaml", "history", "schedules"]
    assert sorted(path.name for path in (home.dagster / "history").rglob("*")) == ["index.db", "runs", "runs.db"]
    assert is_in_order(settings)
    assert init(settings).repaired == ()


@pytest.mark.parametrize("name", ["runs_with_two_heads", "schedules_with_two_heads"])
def test_a_home_that_was_ruined_by_its_first_use_is_repaired(settings, name):
    home = open_home(settings.home)
    with tarfile.open(RUINED / f"{name}.tar.xz") as archive:
        archive.extractall(home.dagster, filter="data")
    (ruined,) = (file for file in DATABASES if len(stamps(home.dagster / file)) > 1)
    (said,) = init(settings).repaired
    assert ruined in said
    assert is_in_order(settings)
    with open_instance(settings) as (_, instance):
        assert instance.get_runs_count() > 0


@pytest.mark.parametrize("name", DATABASES)
def test_a_database_without_a_stamp_is_repaired(settings, name):
    database = init(settings).home.dagster / name
    (head,) = stamps(database)
    alter(database, "DROP TABLE alembic_version")
    init(settings)
    assert stamps(database) == [head]
    assert is_in_order(settings)


@pytest.mark.parametrize("name", DATABASES)
def test_a_database_that_is_missing_or_was_never_filled_is_made(settings, name):
    database = init(settings).home.dagster / name
    database.unlink()
    assert is_in_order(settings)
    database.write_bytes(b"")
    assert is_in_order(settings)


@pytest.mark.parametrize(
    ("name", "table"), list(zip(DATABASES, ("run_tags", "asset_keys", "job_ticks"), strict=True)), ids=DATABASES
)
def test_a_database_that_lacks_a_table_is_named_with_the_way_out(settings, name, table):
    database = init(settings).home.dagster / name
    alter(database, f"DROP TABLE {table}")
    alter(database, "INSERT INTO alembic_version VALUES ('5771160a95ad')")
    with pytest.raises(StorageError) as refused:
        init(settings)
    assert f"lacks {table}." in refused.value.message
    assert f"move {database} to another folder" in refused.value.mend
    shutil.move(database, database.with_name("aside"))  # what the message says
    assert is_in_order(settings)


def test_versions_of_another_dagster_are_left_alone(settings):
    database = init(settings).home.dagster / DATABASES[0]
    alter(
        database, "UPDATE alembic_version SET version_num = 'future1'; INSERT INTO alembic_version VALUES ('future2')"
    )
    with pytest.raises(StorageError, match="2 schema versions"):
        init(settings)
    assert stamps(database) == ["future1", "future2"]


def test_a_file_that_is_no_database_is_named_with_the_way_out(settings):
    database = init(settings).home.dagster / DATABASES[2]
    database.write_bytes(b"not a database" * 1000)
    with pytest.raises(StorageError, match=r"schedules\.db cannot be used(.|\n)*move"):
        init(settings)


def test_what_a_killed_process_was_making_is_removed(settings):
    home = open_home(settings.home)
    (home.dagster / ".new-abc" / "history").mkdir(parents=True)
    init(settings)
    assert not list(home.dagster.glob(".new-*"))


@pytest.mark.parametrize(
    ("config", "folder"),
    [
        (None, "/h/dagster"),
        ({"telemetry": {"enabled": False}}, "/h/dagster"),
        ({"storage": {"sqlite": {"base_dir": "/fast"}}}, "/fast"),
        ({"storage": {"postgres": {}}}, None),
        ({"storage": {"sqlite": {"base_dir": {"env": "PLACE"}}}}, None),
        ({"run_storage": {"module": "m", "class": "c"}}, None),
    ],
)
def test_the_databases_are_where_the_configuration_puts_them(config, folder):
    assert storage_folder(Home(Path("/h")), config) == (Path(folder) if folder else None)


def test_databases_in_a_folder_of_the_users_choice_are_made_there(settings, tmp_path):
    config = init(settings).config
    config.write_text(f"storage: {{sqlite: {{base_dir: {tmp_path / 'fast'}}}}}\ntelemetry: {{enabled: false}}\n")
    with open_instance(settings) as (_, instance):
        read_all(instance)
    assert all(len(stamps(tmp_path / "fast" / name)) == 1 for name in DATABASES)
