"""One SELECT over earlier results: a database of its own in memory, without files, network or settings."""

import json
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from elexirion_dagster.errors import InputError
from elexirion_dagster.records import Json, StepResult
from elexirion_dagster.spec.sql import SqlStep
from elexirion_dagster.steps.context import StepContext
from elexirion_dagster.steps.tables.cells import Cells
from elexirion_dagster.steps.tables.query_columns import wanted_columns
from elexirion_dagster.steps.tables.shapes import NULL, quoted, sql_type
from elexirion_dagster.steps.tables.source import Source, source

if TYPE_CHECKING:
    import duckdb

_MOST_S = 300
"""How long a query may take where nothing else bounds it."""
_WATCH_S = 0.1
_GRACE_S = 5.0
_SHOWN_CHARS = 1_000
_ROWS_AT_ONCE = 1_000
_CLOSED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "memory_limit": "1GB",
    "temp_directory": "",
    "threads": "1",  # the same rows in the same order every time
}


def run(step: SqlStep, ctx: StepContext) -> StepResult:
    """Ask the query; `data` is the list of its rows by column name."""
    bounded = replace(ctx, deadline=time.monotonic() + _MOST_S if ctx.deadline is None else ctx.deadline)
    sources = [source(name, form, bounded) for name, form in step.tables.items()]
    question = _Question(step, bounded, sources, ctx.evaluate(step.parameters))
    return StepResult("succeeded", data=ctx.shared.redactor.tree(question.answer()))


def interrupt(connection: "duckdb.DuckDBPyConnection") -> None:
    """End what a connection is doing; one that was closed a moment ago, by the end of its query, is left alone."""
    # 80 to 125 ms to import (measured); a caller that has a connection has imported it
    import duckdb  # noqa: PLC0415

    with suppress(duckdb.ConnectionException):
        connection.interrupt()


@dataclass(slots=True)
class _Question:
    """One query under way. DuckDB works in a thread of its own, so that a deadline and a cancelled run reach it."""

    step: SqlStep
    ctx: StepContext
    sources: list[Source]
    parameters: Mapping[str, Json]
    connection: "duckdb.DuckDBPyConnection | None" = None
    stopped: threading.Event = field(default_factory=threading.Event)

    def answer(self) -> list[Json]:
        """The rows. Interrupts the query at the deadline, on cancel and on Ctrl-C, whatever it is doing."""
        future: Future[list[Json]] = Future()
        thread = threading.Thread(target=self._work, args=(future,), name=f"sql {self.ctx.path}", daemon=True)
        thread.start()
        try:
            while not future.done():
                self.ctx.go_on()
                thread.join(_WATCH_S)
            return future.result()
        except BaseException:
            self._stop(thread)
            raise

    def _stop(self, thread: threading.Thread) -> None:
        """End the query; one that does not hear of it (a single endless function call) is left to itself."""
        self.stopped.set()
        until = time.monotonic() + _GRACE_S
        while thread.is_alive() and time.monotonic() < until:
            if self.connection is not None:
                interrupt(self.connection)
            thread.join(_WATCH_S)

    def _work(self, future: "Future[list[Json]]") -> None:
        try:
            future.set_result(self._asked())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is waited for
            future.set_exception(error)

    def _asked(self) -> list[Json]:
        # 80 to 125 ms to import (measured); most runs have no sql step
        import duckdb  # noqa: PLC0415

        try:
            with duckdb.connect(":memory:", config=_CLOSED) as connection:
                self.connection = connection
                connection.execute("SET TimeZone = 'UTC'")
                connection.execute("SET lock_configuration = true")
                statement = self._statement(connection)
                self._load(connection, statement)
                connection.execute("BEGIN TRANSACTION READ ONLY")
                return self._rows(connection.execute(statement, dict(self.parameters) or None))
        except duckdb.OutOfMemoryException as error:
            message = f"{self.ctx.path}: the query needs more than {_CLOSED['memory_limit']} of memory"
            raise InputError(message, mend="Ask for less: fewer rows or columns, a narrower join.") from error
        except duckdb.Error as error:
            said = str(error).strip()[:_SHOWN_CHARS]
            raise InputError(f"{self.ctx.path}: the query cannot be run: {said}", mend=self._tables()) from error

    def _statement(self, connection: "duckdb.DuckDBPyConnection") -> "duckdb.Statement":
        statements = connection.extract_statements(self.step.query)
        kinds = [statement.type.name for statement in statements]
        if kinds != ["SELECT"]:
            message = f"{self.ctx.path}: one SELECT statement was expected, {', '.join(kinds) or 'nothing'} came"
            raise InputError(message, mend="The tables are only read: ask with one SELECT, WITH … SELECT or VALUES.")
        wanted, given = set(statements[0].named_parameters), set(self.parameters)
        if wanted - given:
            message = f"{self.ctx.path}: the query has ${min(wanted - given)}, which is not among the parameters"
            raise InputError(message, mend='Add it: parameters: {name: "{{ … }}"}, and $name in the query.')
        if given - wanted:
            message = f"{self.ctx.path}: the query has no ${min(given - wanted)}, although parameters gives it"
            raise InputError(message, mend="Use it, or remove it.")
        return statements[0]

    def _load(self, connection: "duckdb.DuckDBPyConnection", statement: "duckdb.Statement") -> None:
        """Make the tables: what holds values in a schema of its own, and a view of that for the query."""
        if any(one.is_open for one in self.sources):
            self._open(connection, statement)
        connection.execute("CREATE SCHEMA stored")
        for one in self.sources:
            columns = one.stored()
            listed = ", ".join(f"{quoted(name)} {sql_type(of)}" for name, of in columns.items())
            connection.execute(f"CREATE TABLE stored.{quoted(one.name)} ({listed})")
            insert = f"INSERT INTO stored.{quoted(one.name)} SELECT unnest(from_json(?::JSON, ?), max_depth := 2)"
            for batch in one.batches():
                if self.stopped.is_set():
                    return
                connection.execute(insert, [batch, json.dumps([columns])])
            shown = ", ".join(
                f"NULL AS {quoted(name)}" if of == NULL else quoted(name) for name, of in one.columns.items()
            )
            connection.execute(
                f"CREATE VIEW {quoted(one.name)} AS SELECT {shown or 'NULL AS value'} FROM stored.{quoted(one.name)}"  # noqa: S608 - names are quoted
            )

    def _open(self, connection: "duckdb.DuckDBPyConnection", statement: "duckdb.Statement") -> None:
        """Give the tables of empty lists the columns that the query refers to, all null."""
        (tree,) = connection.execute("SELECT json_serialize_sql(?)", [statement.query]).fetchone() or ("{}",)
        tables = {
            one.name: None if one.is_open else frozenset(name.lower() for name in one.columns) for one in self.sources
        }
        wanted = wanted_columns(json.loads(tree), tables)
        for one in self.sources:
            one.columns.update(dict.fromkeys(wanted.get(one.name, ()), NULL))

    def _rows(self, answer: "duckdb.DuckDBPyConnection") -> list[Json]:
        cells = Cells([(column[0], column[1]) for column in answer.description or ()])
        found: list[Json] = []
        while rows := answer.fetchmany(_ROWS_AT_ONCE):
            if len(found) + len(rows) > self.step.max_rows:
                message = f"{self.ctx.path}: the answer has more than {self.step.max_rows:,} rows"
                raise InputError(message, mend="Aggregate, add a LIMIT, or raise max_rows.")
            found += [cells.record(row) for row in rows]
        return found

    def _tables(self) -> str:
        """What there is to ask about, for messages."""
        named = [f"{one.name}({', '.join(one.columns)})" for one in self.sources]
        tables = f"The tables are {'; '.join(named)}."[:_SHOWN_CHARS] if named else "There are no tables."
        return f"{tables} Names that are SQL words (at, order, …) stand in double quotes."
