"""The databases of the Dagster instance: made whole before anybody sees them, repaired where two made them at once.

Dagster makes its SQLite files in place and unlocked. Processes that do so at the same time stamp one of them with two
schema versions, and from then on every program that opens the instance fails. So they are made in a folder beside and
moved, by one process at a time.
"""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from elexirion_dagster.errors import StorageError
from elexirion_dagster.records import Json
from elexirion_dagster.store.first_use import first_use
from elexirion_dagster.store.home import Home, storage_error, sync_folder

DATABASES = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
_STAMP = "CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"
_STORAGES = ("storage", "run_storage", "event_log_storage", "schedule_storage", "instance_class")
_NEW = ".new-"
_BUSY_S = 60.0


def prepare(home: Home, config: Json) -> list[str]:
    """Make the databases that are missing and repair those that can be; says what was repaired.

    `config` is what `dagster.yaml` says; databases that it places elsewhere than in SQLite files are left to Dagster.
    Raises StorageError naming a database that cannot be used, and the way out.
    """
    folder = storage_folder(home, config)
    if folder is None or all(len(_stamps(folder / name) or ()) == 1 for name in DATABASES):
        return []
    try:
        with first_use(home.path):
            return _make(folder)
    except OSError as error:
        raise storage_error(error, folder) from error


def storage_folder(home: Home, config: Json) -> Path | None:
    """Where the instance's SQLite files are; None where its storage is of another kind."""
    given = config if isinstance(config, Mapping) else {}
    if not any(name in given for name in _STORAGES):
        return home.dagster
    match given:
        case {"storage": {"sqlite": {"base_dir": str(folder)}}}:
            return Path(folder)
    return None


def _make(folder: Path) -> list[str]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if all(len(_stamps(folder / name) or ()) == 1 for name in DATABASES):
        return []  # another process was faster
    with _fresh(folder) as fresh:
        for part in ("history", "schedules"):
            if not (folder / part).exists():
                (fresh / part).rename(folder / part)
        repaired = [_made(folder / name, fresh / name) for name in DATABASES if (fresh / name).exists()]
    sync_folder(folder)
    return [said for said in repaired if said]


@contextmanager
def _fresh(folder: Path) -> Iterator[Path]:
    """A folder with new databases, each in a single file."""
    # Dagster takes 1.5 s to import (measured); an instance that is in order does not need it here.
    from dagster import DagsterInstance  # noqa: PLC0415

    for left in folder.glob(f"{_NEW}*"):  # of a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_NEW, dir=folder) as name:
        with DagsterInstance.from_config(name):
            pass
        for database in DATABASES:
            with _connected(Path(name) / database) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        yield Path(name)


def _made(database: Path, fresh: Path) -> str | None:
    """Put the fresh database in the place of one that is not there or empty; else see that it has one stamp."""
    stamps = _stamps(database)
    if stamps is None or (not stamps and not _has_rows(database)):
        for suffix in ("-wal", "-shm"):
            database.with_name(database.name + suffix).unlink(missing_ok=True)
        database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh.rename(database)
        return None
    if len(stamps) == 1:
        return None
    missing = _schema(fresh) - _schema(database)
    if not stamps and missing:
        return None  # an old one, or half of one: Dagster brings it up to date when it opens it
    (head,) = _stamps(fresh) or ("",)
    if missing or (stamps and head not in stamps):
        lacks = f" and lacks {min(missing)}" if missing else ""
        message = f"{database} was made by several programs at once: it has {len(stamps)} schema versions{lacks}"
        raise StorageError(message, mend=_way_out(database))
    with _connected(database) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_STAMP)
        connection.execute("DELETE FROM alembic_version")
        connection.execute("INSERT INTO alembic_version VALUES (?)", [head])
        connection.execute("COMMIT")
    return f"{database}: it had {len(stamps)} schema versions and has one now"


def _way_out(database: Path) -> str:
    return (
        f"End all programs that use it and move {database} to another folder; a new one is then made. What Dagster "
        "lists of runs or schedules from it is lost; journal, tables, findings and prompts are not."
    )


def _stamps(database: Path) -> list[str] | None:
    """The schema versions that a database is stamped with; None where there is no such file."""
    if not database.exists():
        return None
    with _connected(database) as connection:
        if ("alembic_version",) not in _tables(connection):
            return []
        return [version for (version,) in connection.execute("SELECT version_num FROM alembic_version")]


def _has_rows(database: Path) -> bool:
    with _connected(database) as connection:
        return any(connection.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() for (name,) in _tables(connection))  # noqa: S608  names of its tables


def _schema(database: Path) -> set[str]:
    """Every table and column besides the stamp, as `table.column`."""
    with _connected(database) as connection:
        names = [name for (name,) in _tables(connection) if name != "alembic_version"]
        return {f"{name}.{row[1]}" for name in names for row in connection.execute(f'PRAGMA table_info("{name}")')}


def _tables(connection: sqlite3.Connection) -> list[tuple[str]]:
    return connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    ).fetchall()


@contextmanager
def _connected(database: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(database, timeout=_BUSY_S, isolation_level=None)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise StorageError(f"{database} cannot be used: {error}", mend=_way_out(database)) from error
