"""Everything that a home keeps, to look for what must not be there."""

from pathlib import Path

import duckdb


def places(home: Path, *texts: str) -> list[str]:
    """Where in the home one of these texts is: a file in whose name or bytes it stands, a table of DuckDB."""
    found = []
    for file in sorted(home.rglob("*")):
        name = str(file.relative_to(home))
        content = file.read_bytes() if file.is_file() else b""
        found += [name for text in texts if text in name or text.encode() in content]
        if file.suffix == ".duckdb":  # its columns are compressed
            with duckdb.connect(str(file), read_only=True) as tables:
                for (table,) in tables.execute("SELECT table_name FROM information_schema.tables").fetchall():
                    rows = str(tables.execute(f'SELECT * FROM "{table}"').fetchall())  # noqa: S608 - our own names
                    found += [f"{name}: {table}" for text in texts if text in rows]
    return found
