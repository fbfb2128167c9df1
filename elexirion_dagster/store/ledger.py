"""The ledger: what may be spent, over all processes of one home, in one SQLite file."""

import json
import os
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from elexirion_dagster.errors import PolicyError, StorageError
from elexirion_dagster.store.home import Home, storage_error

_NANO = 1_000_000_000
"""Dollars are kept as whole nano-dollars: sums of floats drift, and ten times 0.1 must fit into 1."""

_TABLES = """
CREATE TABLE IF NOT EXISTS scopes (
    scope TEXT PRIMARY KEY, nano_usd INTEGER NOT NULL, tokens INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reservations (
    id TEXT PRIMARY KEY, scopes TEXT NOT NULL, nano_usd INTEGER NOT NULL, tokens INTEGER NOT NULL,
    pid INTEGER NOT NULL, process_started REAL NOT NULL
) WITHOUT ROWID;
"""
_ADD = """
INSERT INTO scopes VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET nano_usd = nano_usd + excluded.nano_usd, tokens = tokens + excluded.tokens
"""
_BUSY_S = 60


@dataclass(frozen=True, slots=True)
class Limit:
    """What a scope (`run:<root_run>`, `day:2026-11-22`) may cost in all; None: counted, not limited."""

    scope: str
    usd: float | None
    tokens: int | None


@dataclass(frozen=True, slots=True)
class Spend:
    """What a scope came to. A dead process's reservation is spent at its bound."""

    usd: float
    tokens: int
    reserved_usd: float
    reserved_tokens: int


class Ledger:
    """Budgets of one home. Threads may share it; create it after a fork, not before.

    A scope's row holds settled and reserved amounts in one sum: whether a reservation's owner has died changes how
    the sum is told apart, never the sum, so reserving need not look at other processes.
    """

    def __init__(self, home: Home) -> None:
        self._path = home.ledger_db
        # One connection and a lock: threads then hand over in microseconds instead of sleeping in SQLite's busy loop.
        self._lock = threading.Lock()
        self._owner = (os.getpid(), psutil.Process().create_time())
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise storage_error(error, self._path) from error
        with self._told():
            self._db = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            # A killed process loses nothing; a power cut may lose the last moments, which the journal still has.
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(_TABLES)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def reserve(self, limits: Sequence[Limit], *, usd: float | None, tokens: int) -> str:
        """Hold these upper bounds in every scope at once, or in none: PolicyError (`budget_exceeded`)."""
        reservation, nano = uuid.uuid4().hex, _nano(usd)
        scopes = tuple(dict.fromkeys(limit.scope for limit in limits))
        with self._transaction():
            for limit in limits:
                self._check(limit, usd, tokens)
            self._db.executemany(_ADD, [(scope, nano, tokens) for scope in scopes])
            row = (reservation, json.dumps(scopes), nano, tokens, *self._owner)
            self._db.execute("INSERT INTO reservations VALUES (?, ?, ?, ?, ?, ?)", row)
        return reservation

    def settle(self, reservation: str, *, usd: float | None, tokens: int) -> None:
        """Put what it really came to in place of the bounds; `usd` None (not known) leaves the bound standing."""
        with self._transaction():
            self._replace(reservation, usd, tokens)

    def release(self, reservation: str) -> None:
        """Nothing was spent: give the bounds back."""
        with self._transaction():
            self._replace(reservation, 0.0, 0)

    def spent(self, scope: str) -> Spend:
        """Tell what a scope came to so far; zeros if it is not known."""
        with self._transaction():
            return self._spend(scope)

    def _replace(self, reservation: str, usd: float | None, tokens: int) -> None:
        removed = self._db.execute("DELETE FROM reservations WHERE id = ? RETURNING *", (reservation,)).fetchone()
        if removed:  # else it was settled before
            _, scopes, nano, bound, *_ = removed
            change = (0 if usd is None else _nano(usd) - nano, max(tokens, 0) - bound)
            self._db.executemany(_ADD, [(scope, *change) for scope in json.loads(scopes)])

    def _check(self, limit: Limit, usd: float | None, tokens: int) -> None:
        nano_now, tokens_now = self._sum(limit.scope)
        if limit.usd is not None and usd is None:
            raise PolicyError(
                f"{limit.scope} may cost ${limit.usd:.6g}, and the price of this model is not known",
                cause="budget_exceeded",
                mend="Take a model with a known price, or limit `budget.tokens` instead of `budget.usd`.",
            )
        if limit.usd is not None and nano_now + _nano(usd) > _nano(limit.usd):
            spend = self._spend(limit.scope)
            raise _exceeded(
                limit, f"${limit.usd:.6g}", f"${spend.usd:.6g}", f"${spend.reserved_usd:.6g}", f"${usd:.6g}"
            )
        if limit.tokens is not None and tokens_now + tokens > limit.tokens:
            spend = self._spend(limit.scope)
            raise _exceeded(limit, f"{limit.tokens} tokens", f"{spend.tokens}", f"{spend.reserved_tokens}", f"{tokens}")

    def _sum(self, scope: str) -> tuple[int, int]:
        row = self._db.execute("SELECT nano_usd, tokens FROM scopes WHERE scope = ?", (scope,)).fetchone()
        return row or (0, 0)

    def _spend(self, scope: str) -> Spend:
        nano, tokens = self._sum(scope)
        rows = self._db.execute("SELECT scopes, nano_usd, tokens, pid, process_started FROM reservations").fetchall()
        held = [row for row in rows if scope in json.loads(row[0])]
        alive = {owner for owner in {row[3:] for row in held} if _lives(*owner)}
        reserved = sum(row[1] for row in held if row[3:] in alive)
        reserved_tokens = sum(row[2] for row in held if row[3:] in alive)
        return Spend((nano - reserved) / _NANO, tokens - reserved_tokens, reserved / _NANO, reserved_tokens)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock, self._told():
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield
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


def _nano(usd: float | None) -> int:
    return 0 if usd is None else max(round(usd * _NANO), 0)


def _lives(pid: int, started: float) -> bool:
    """Whether the process that reserved is still there; its pid alone may belong to another by now."""
    try:
        return bool(abs(psutil.Process(pid).create_time() - started) < 1)
    except psutil.NoSuchProcess:
        return False


def _exceeded(limit: Limit, most: str, spent: str, reserved: str, asked: str) -> PolicyError:
    message = f"{limit.scope}: at most {most}; {spent} spent, {reserved} reserved, this call may need {asked}"
    raised = "ELEXIRION_BUDGET_USD_PER_DAY" if limit.scope.startswith("day:") else "the pipeline's `budget`"
    mend = f"Raise {raised}, lower `max_tokens`, or take a cheaper model."
    return PolicyError(message, cause="budget_exceeded", mend=mend)
