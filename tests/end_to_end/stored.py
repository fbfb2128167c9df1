"""The home of a user of an earlier version, unpacked as if it had been made here: tests/data/stored_home."""

import json
import sqlite3
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from elexirion_dagster.rehearsal.script import load_script
from elexirion_dagster.rehearsal.server import Recorded, RehearsalServer

DATA = Path(__file__).parents[1] / "data" / "stored_home"
BUILT_AT = "/tmp/elexirion-0.1"  # noqa: S108 - a text in the archive

Record = dict[str, Any]


@dataclass(frozen=True)
class Stored:
    """An unpacked home with what lay beside it.

    `facts` names runs and versions, `answers` is what the version that made the home said of it, by command.
    """

    root: Path
    environ: Mapping[str, str]
    facts: Record
    answers: Record

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def shop(self) -> Path:
        """The repository in which its user works, with pipelines of the user's own."""
        return self.root / "shop"

    @property
    def cellar(self) -> Path:
        return self.root / "cellar"

    @property
    def folder(self) -> Path:
        """Where the runs that failed looked for a file that was not there."""
        return self.root / "folder"

    def elexirion(self, *words: object, code: int = 0) -> str:
        """What a command prints; it must end with this exit code."""
        line = [sys.executable, "-m", "elexirion_dagster.cli.main", *map(str, words)]
        done = subprocess.run(
            line, cwd=self.shop, env=self.environ, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done.stdout

    def alerts(self, sarif: Path) -> list[Record]:
        """The alerts of a SARIF report, as a service that holds them knows them; those that are fixed are left out."""
        return [
            {
                "rule": result["ruleId"],
                "path": result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
                "fingerprints": result["partialFingerprints"],
                "suppressed": bool(result.get("suppressions")),
                "new": result.get("baselineState") == "new",
            }
            for run in json.loads(sarif.read_text(encoding="utf-8"))["runs"]
            for result in run["results"]
            if result.get("baselineState") != "absent"
        ]


def unpack(root: Path, environ: Mapping[str, str]) -> Stored:
    """Unpack the archive into a folder that is empty, and move all paths in it there."""
    with tarfile.open(DATA / "home.tar.xz") as archive:
        archive.extractall(root, filter="tar")
    for file in root.rglob("*"):
        if file.suffix in (".db", ".sqlite"):
            _move_sqlite(file, root)
        elif file.suffix != ".duckdb" and file.is_file() and BUILT_AT.encode() in (content := file.read_bytes()):
            file.write_bytes(content.replace(BUILT_AT.encode(), str(root).encode()))
    _move_duckdb(root / "home", root)
    facts, answers = (json.loads((root / f"{name}.json").read_text()) for name in ("facts", "answers"))
    return Stored(root, {**environ, "ELEXIRION_HOME": str(root / "home")}, facts, answers)


def _move_sqlite(file: Path, root: Path) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for _, column, kind, *_ in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
                if "TEXT" in kind or "CHAR" in kind:
                    moved = f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?)'  # noqa: S608  the file's names
                    connection.execute(f'{moved} WHERE instr("{column}", ?)', [BUILT_AT, str(root), BUILT_AT])


def _move_duckdb(home: Path, root: Path) -> None:
    """Move paths in the tables, and how far each file of the journal was read: to its end."""
    with duckdb.connect(home / "outcomes.duckdb") as connection:
        columns = """SELECT table_name, column_name, data_type FROM duckdb_columns() JOIN duckdb_tables()
            USING (table_name) WHERE data_type IN ('VARCHAR', 'JSON')"""
        for table, column, kind in connection.execute(columns).fetchall():
            text = f'"{column}"::VARCHAR'
            moved = f'UPDATE {table} SET "{column}" = replace({text}, ?, ?)::{kind}'  # noqa: S608  the file's names
            connection.execute(f"{moved} WHERE contains({text}, ?)", [BUILT_AT, str(root), BUILT_AT])
        for file in (home / "journal").glob("*/*.jsonl"):
            name = file.relative_to(home / "journal").as_posix()
            connection.execute("UPDATE _files SET next_byte = ? WHERE file = ?", [file.stat().st_size, name])


def model() -> RehearsalServer:
    """The server that played the models when the home was made."""
    return RehearsalServer(load_script(DATA / "model.yaml"))


def lost(before: list[Record], now: list[Record]) -> list[Record]:
    """The records of before that have no equal now. Records may grow; what was null may have got a value."""
    left = list(now)
    missing = []
    for record in before:
        found = next((one for one in left if _holds(one, record)), None)
        if found is None:
            missing.append(record)
        else:
            left.remove(found)
    return missing


def _holds(now: Record, before: Record) -> bool:
    return all(name in now and (value is None or now[name] == value) for name, value in before.items())


def systems(requests: Iterable[Recorded]) -> dict[str, int]:
    """The system texts that models were asked with, and how often."""
    bodies = [request.body for request in requests if request.method == "POST"]
    return dict(Counter(turn["content"] for body in bodies for turn in body["messages"][:1]))
