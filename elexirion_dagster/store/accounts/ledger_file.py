"""The ledger's file: one SQLite connection that the threads of a process share, and who they are to other processes."""

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psutil

from elexirion_dagster.errors import StorageError
from elexirion_dagster.store.first_use import first_use
from elexirion_dagster.store.home import Home, storage_error

Owner = tuple[int, float]
"""A process: its pid and when it started, because the pid alone may belong to another by now."""

_BUSY_S = 60


class LedgerFile:
    """One connection and a lock: threads then hand over in microseconds instead of sleeping in SQLite's busy loop.

    Create it after a fork, not before.
    """

    def __init__(self, home: Home) -> None:
        self.owner: Owner = (os.getpid(), psutil.Process().create_time())
        self._path = home.ledger_db
        self._lock = threading.Lock()
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._open(home)
        except OSError as error:
            raise storage_error(error, self._path) from error

    def _open(self, home: Home) -> None:
        with self._told():
            self._db = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            if self._db.execute("PRAGMA journal_mode").fetchone() != ("wal",):
                with first_use(home.path):  # SQLite refuses this change at once while another process is in the file
                    self._db.execute("PRAGMA journal_mode = WAL")
            # A killed process loses nothing; a power cut may lose the last moments, which the journal still has.
            self._db.execute("PRAGMA synchronous = NORMAL")

    def create(self, tables: str) -> None:
        """Create tables that are not there yet."""
        with self._lock, self._told():
            self._db.executescript(tables)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Fetch rows as they are at this moment, without keeping writers out."""
        with self._lock, self._told():
            return self._db.execute(sql, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Read and write as the only one over all processes; nothing is written when the block raises."""
        with self._lock, self._told():
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            mend = "Free disk space or make the file writable; if it is damaged, remove it (spending starts at zero)."
            raise StorageError(f"{self._path} cannot be used: {error}", mend=mend) from error


def lives(owner: Owner) -> bool:
    """Whether a process is still there."""
    pid, started = owner
    try:
        return bool(abs(psutil.Process(pid).create_time() - started) < 1)
    except psutil.NoSuchProcess:
        return False
