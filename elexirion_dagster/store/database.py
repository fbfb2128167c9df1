"""The only door to DuckDB: load the journal into tables, answer SQL about them.

The database is a projection; whatever happens to it, the journal builds it again.
"""

import fcntl
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import duckdb
from filelock import FileLock, Timeout

from elexirion_dagster.errors import InputError, StorageError
from elexirion_dagster.records import Json
from elexirion_dagster.store import migrations, projection
from elexirion_dagster.store.home import Home, storage_error
from elexirion_dagster.store.journal import Line, read_lines
from elexirion_dagster.store.nights import scan_projection

_WAIT_S = 120
_QUERY_S = 60
_TENANTS = "SELECT run, any_value(tenant) FROM run_starts WHERE tenant IS NOT NULL GROUP BY run"
_LINE_BYTES = 16 * 1024 * 1024
_READ_ONLY: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "lock_configuration": "true",
}
_REBUILD = "Free disk space if there is none left; else remove that file: it is built anew from the journal."


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What one ingest took in: lines that became rows, files with news, corrupt lines left out.

    `rebuilt`: the database was unusable, was set aside as `outcomes.duckdb.corrupt-<utc>`, and all lines were read.
    """

    lines: int
    files: int
    skipped: int
    rebuilt: bool


@dataclass(frozen=True, slots=True)
class Rows:
    """The answer to a query."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Json, ...], ...]


def ingest(home: Home) -> IngestReport:
    """Load what the journal got since the last time, exactly once, however many processes do it at the same time."""
    with _locked(home):
        connection, rebuilt = _open(home)
        with connection, _told(home), _fresh_folder(home.cache / "ingest") as folder:
            migrations.migrate(connection)
            stage = _Stage(connection, folder)
            stage.read(home.journal)
            stage.load()
        home.outcomes_db.chmod(0o600)
        return IngestReport(stage.lines, stage.files, stage.skipped, rebuilt)


def query(home: Home, sql: str, params: Sequence[Json] = ()) -> Rows:
    """Run one SELECT on the tables as they are. InputError with DuckDB's words if it cannot be run.

    The statement can neither write nor reach files, the network or this process's variables.
    """
    if not home.outcomes_db.exists():
        ingest(home)
    with _locked(home), _told(home):
        _refuse_if_held(home.outcomes_db)
        with duckdb.connect(home.outcomes_db, read_only=True, config=_READ_ONLY) as connection:
            try:
                _check_statement(connection, sql)
                return _answer(connection, sql, params)
            except duckdb.Error as error:
                if _of_storage(error):
                    raise
                mend = "`SHOW TABLES` lists tables and views, `DESCRIBE outcomes` the columns of one."
                raise InputError(f"the query cannot be run: {error}", mend=mend) from error


def _answer(connection: duckdb.DuckDBPyConnection, sql: str, params: Sequence[Json]) -> Rows:
    """Run the statement in a thread, so that Ctrl-C and the time limit reach it: DuckDB itself hears neither."""

    def work() -> Rows:
        answer = connection.execute(sql, list(params))
        return Rows(tuple(column[0] for column in answer.description), tuple(answer.fetchall()))

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        try:
            return future.result(timeout=_QUERY_S)
        except TimeoutError as error:
            connection.interrupt()
            mend = "Ask for less: fewer rows, or a narrower join."
            raise InputError(f"the query took longer than {_QUERY_S} s", mend=mend) from error
        except BaseException:
            connection.interrupt()
            raise


def _check_statement(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    kinds = [statement.type for statement in connection.extract_statements(sql)]
    if len(kinds) != 1 or kinds[0] not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        came = ", ".join(kind.name for kind in kinds) or "nothing"
        raise InputError(
            f"one SELECT statement was expected, {came} came",
            mend="The tables are a projection of the journal and are only read: ask with one SELECT.",
        )


@contextmanager
def _locked(home: Home) -> Iterator[None]:
    """Hold the side lock: DuckDB lets no process read while another writes."""
    try:
        with FileLock(home.outcomes_lock, timeout=_WAIT_S, mode=0o600):
            yield
    except Timeout as error:
        message = f"another process has been using {home.outcomes_db} for {_WAIT_S} s"
        raise StorageError(message, mend="Wait for it to end, or end it.") from error
    except OSError as error:
        raise storage_error(error, Path(error.filename or home.path)) from error


@contextmanager
def _fresh_folder(folder: Path) -> Iterator[Path]:
    """Make an empty folder for the time being, also where a killed ingest left one."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def _told(home: Home) -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        raise StorageError(f"{home.outcomes_db} cannot be used: {error}", mend=_REBUILD) from error


def _of_storage(error: duckdb.Error) -> bool:
    """Whether the file, not the statement, is at fault; a bad checksum comes as the bare root class."""
    kinds = (duckdb.IOException, duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException)
    return type(error) is duckdb.Error or isinstance(error, kinds)


def _open(home: Home) -> tuple[duckdb.DuckDBPyConnection, bool]:
    """Open the database, or set an unusable one aside and begin anew (True)."""
    path = home.outcomes_db
    rebuilt = path.exists()
    if rebuilt:
        _refuse_if_held(path)
        connection = _connect_if_ours(home)
        if connection:
            return connection, False
        aside = f"{path.name}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        for suffix in ("", ".wal"):
            old = path.with_name(path.name + suffix)
            if old.exists():
                old.rename(path.with_name(aside + suffix))
    with _told(home):
        return duckdb.connect(path), rebuilt


def _connect_if_ours(home: Home) -> duckdb.DuckDBPyConnection | None:
    """Open it if it is a sound DuckDB file with tables known here and a journal that is at least as long."""
    known = {migration.__name__ for migration in migrations.MIGRATIONS}
    connection = None
    try:
        connection = duckdb.connect(home.outcomes_db)
        if known.issuperset(migrations.applied(connection)) and not _is_ahead(connection, home.journal):
            return connection
    except duckdb.Error:
        pass  # no database, or a damaged one
    if connection:
        connection.close()
    return None


def _is_ahead(connection: duckdb.DuckDBPyConnection, journal: Path) -> bool:
    """Whether a journal file is shorter than what was read of it: it was replaced by another."""
    return any(
        (journal / file).exists() and (journal / file).stat().st_size < next_byte
        for file, next_byte in connection.execute("SELECT file, next_byte FROM _files").fetchall()
    )


def _refuse_if_held(path: Path) -> None:
    """Tell another program's lock from damage: DuckDB reports both as the same class of error."""
    with path.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = f"another program has {path} open"
            raise StorageError(message, mend="Close it there; ask with `elexirion outcomes --sql` instead.") from error


class _Stage:
    """New lines on their way: from the journal into one file of rows per table, from there into the tables."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
        self.lines = self.files = self.skipped = 0
        self._connection = connection
        self._folder = folder
        self._types: dict[str, dict[str, str]] = {}
        self._outputs: dict[str, BinaryIO] = {}
        self._longest = _LINE_BYTES
        self._tenants: dict[str, str] = {}

    def read(self, journal: Path) -> None:
        """Turn every whole line that is not in the tables yet into rows."""
        sql = "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal"
        for table, column, kind in self._connection.execute(sql).fetchall():
            self._types.setdefault(table, {})[column] = kind
        known = dict(self._connection.execute("SELECT file, next_byte FROM _files").fetchall())
        self._tenants = dict(self._connection.execute(_TENANTS).fetchall())
        with ExitStack() as stack:
            for table in migrations.TABLES:
                self._outputs[table] = stack.enter_context((self._folder / table).open("wb"))
            for file in sorted(journal.glob("*/*.jsonl")):
                name = file.relative_to(journal).as_posix()
                self._read_file(file, name, known.get(name, 0))

    def _read_file(self, file: Path, name: str, start: int) -> None:
        if file.stat().st_size == start:
            return
        end = start
        for line in read_lines(file, start):
            end = line.start + len(line.raw)
            self._take(line)
        if end > start:
            self.files += 1
            self._put("_files", {"file": name, "next_byte": end})

    def _take(self, line: Line) -> None:
        try:
            rows = list(projection.rows(self._with_tenant(line.fields or {})))
        except (KeyError, TypeError, ValueError, AttributeError):
            self.skipped += 1
            return
        self.lines += 1
        for table, row in rows:
            self._put(table, row)

    def _with_tenant(self, fields: dict[str, Json]) -> dict[str, Json]:
        """Lines of before 0.2 name their tenant only where the run starts."""
        run, tenant = fields.get("run"), fields.get("tenant")
        if fields.get("kind") == "run_started" and isinstance(run, str) and isinstance(tenant, str):
            self._tenants[run] = tenant
        return {**fields, "tenant": self._tenants[run]} if tenant is None and run in self._tenants else fields

    def _put(self, table: str, row: projection.Row) -> None:
        data = projection.encode(row, self._types[table])
        self._longest = max(self._longest, len(data))
        self._outputs[table].write(data)

    def load(self) -> None:
        """Insert all rows and remember how far the files were read, in one transaction."""
        if not self.files:
            return
        self._connection.execute("BEGIN")
        read_again = f"SELECT file FROM {self._source('_files')}"  # noqa: S608  table names are ours
        self._connection.execute(f"DELETE FROM _files WHERE file IN ({read_again})")  # noqa: S608  as above
        for table in migrations.TABLES:
            self._insert(table)
        with ExitStack() as stack:
            for table in scan_projection.FOLDED:
                self._outputs[table] = stack.enter_context((self._folder / table).open("wb"))
            for table, row in scan_projection.project(self._connection):
                self._put(table, row)
        for table in scan_projection.FOLDED:
            self._insert(table)
        self._connection.execute("COMMIT")

    def _insert(self, table: str) -> None:
        columns = ", ".join(f'TRY_CAST("{name}" AS {kind})' for name, kind in self._types[table].items())
        self._connection.execute(f"INSERT INTO {table} SELECT {columns} FROM {self._source(table)}")  # noqa: S608  table names are ours

    def _source(self, table: str) -> str:
        """Name a table's file of rows in SQL; whatever does not fit its column becomes NULL on the way in."""
        path = str(self._folder / table).replace("'", "''")
        types = {
            name: kind if kind in ("JSON", "VARCHAR[]") else "VARCHAR" for name, kind in self._types[table].items()
        }
        return (
            f"read_json('{path}', format = 'newline_delimited', compression = 'uncompressed', columns = {types}, "
            f"maximum_object_size = {self._longest})"
        )
