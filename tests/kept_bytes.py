"""Everything that a home keeps, to look for what must not be there."""

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import duckdb


def places(home: Path, *texts: str) -> list[str]:
    """Where in the home one of these texts is: a file in whose name or bytes it stands, a table of DuckDB."""
    found = []
    for file in sorted(home.rglob("*")):
        name = str(file.relative_to(home))
        content = file.read_bytes() if file.is_file() else b""
        found += [name for text in texts if text in name or text.encode() in content]
        if content.startswith(b"SQLite format 3"):
            found += [f"{name}: what jobs are" for part in _compressed(file) for text in texts if text.encode() in part]
        if file.suffix == ".duckdb":  # its columns are compressed
            with duckdb.connect(str(file), read_only=True) as tables:
                for (table,) in tables.execute("SELECT table_name FROM information_schema.tables").fetchall():
                    rows = str(tables.execute(f'SELECT * FROM "{table}"').fetchall())  # noqa: S608 - our own names
                    found += [f"{name}: {table}" for text in texts if text in rows]
    return found


def _compressed(file: Path) -> Iterator[bytes]:
    """What Dagster keeps compressed: the jobs of runs, with defaults of inputs and descriptions."""
    with closing(sqlite3.connect(file)) as tables, suppress(sqlite3.OperationalError):
        for (body,) in tables.execute("SELECT snapshot_body FROM snapshots"):
            yield zlib.decompress(body)
