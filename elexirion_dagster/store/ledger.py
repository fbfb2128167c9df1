"""The ledger: what may be spent, over all processes of one home, in one SQLite file."""

import json
import sqlite3
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from elexirion_dagster.errors import PolicyError
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.ledger_file import LedgerFile, lives

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
        self.file = LedgerFile(home)
        """Shared with whatever else is kept there."""
        self.file.create(_TABLES)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def reserve(self, limits: Sequence[Limit], *, usd: float | None, tokens: int) -> str:
        """Hold these upper bounds in every scope at once, or in none: PolicyError (`budget_exceeded`)."""
        reservation, nano = uuid.uuid4().hex, _nano(usd)
        scopes = tuple(dict.fromkeys(limit.scope for limit in limits))
        with self.file.transaction() as db:
            for limit in limits:
                _check(db, limit, usd, tokens)
            db.executemany(_ADD, [(scope, nano, tokens) for scope in scopes])
            row = (reservation, json.dumps(scopes), nano, tokens, *self.file.owner)
            db.execute("INSERT INTO reservations VALUES (?, ?, ?, ?, ?, ?)", row)
        return reservation

    def settle(self, reservation: str, *, usd: float | None, tokens: int) -> None:
        """Put what it really came to in place of the bounds; `usd` None (not known) leaves the bound standing."""
        with self.file.transaction() as db:
            _replace(db, reservation, usd, tokens)

    def release(self, reservation: str) -> None:
        """Nothing was spent: give the bounds back."""
        with self.file.transaction() as db:
            _replace(db, reservation, 0.0, 0)

    def spent(self, scope: str) -> Spend:
        """Tell what a scope came to so far; zeros if it is not known."""
        with self.file.transaction() as db:
            return _spend(db, scope)


def _replace(db: sqlite3.Connection, reservation: str, usd: float | None, tokens: int) -> None:
    removed = db.execute("DELETE FROM reservations WHERE id = ? RETURNING *", (reservation,)).fetchone()
    if removed:  # else it was settled before
        _, scopes, nano, bound, *_ = removed
        change = (0 if usd is None else _nano(usd) - nano, max(tokens, 0) - bound)
        db.executemany(_ADD, [(scope, *change) for scope in json.loads(scopes)])


def _check(db: sqlite3.Connection, limit: Limit, usd: float | None, tokens: int) -> None:
    nano_now, tokens_now = _sum(db, limit.scope)
    if limit.usd is not None and usd is None:
        raise PolicyError(
            f"{limit.scope} may cost ${limit.usd:.6g}, and the price of this model is not known",
            cause="budget_exceeded",
            mend="Put its price into a file and name that in ELEXIRION_PRICES, or limit `budget.tokens` instead.",
        )
    if limit.usd is not None and nano_now + _nano(usd) > _nano(limit.usd):
        spend = _spend(db, limit.scope)
        raise _exceeded(limit, f"${limit.usd:.6g}", f"${spend.usd:.6g}", f"${spend.reserved_usd:.6g}", f"${usd:.6g}")
    if limit.tokens is not None and tokens_now + tokens > limit.tokens:
        spend = _spend(db, limit.scope)
        raise _exceeded(limit, f"{limit.tokens} tokens", f"{spend.tokens}", f"{spend.reserved_tokens}", f"{tokens}")


def _sum(db: sqlite3.Connection, scope: str) -> tuple[int, int]:
    row = db.execute("SELECT nano_usd, tokens FROM scopes WHERE scope = ?", (scope,)).fetchone()
    return row or (0, 0)


def _spend(db: sqlite3.Connection, scope: str) -> Spend:
    nano, tokens = _sum(db, scope)
    rows = db.execute("SELECT scopes, nano_usd, tokens, pid, process_started FROM reservations").fetchall()
    held = [row for row in rows if scope in json.loads(row[0])]
    alive = {owner for owner in {row[3:] for row in held} if lives(owner)}
    reserved = sum(row[1] for row in held if row[3:] in alive)
    reserved_tokens = sum(row[2] for row in held if row[3:] in alive)
    return Spend((nano - reserved) / _NANO, tokens - reserved_tokens, reserved / _NANO, reserved_tokens)


def _nano(usd: float | None) -> int:
    return 0 if usd is None else max(round(usd * _NANO), 0)


def _exceeded(limit: Limit, most: str, spent: str, reserved: str, asked: str) -> PolicyError:
    whole = "today's runs" if limit.scope.startswith("day:") else "this run and what continues it"
    message = f"{whole} may spend {most}: {spent} are spent and {reserved} reserved, this call may need {asked}"
    raised = "ELEXIRION_BUDGET_USD_PER_DAY" if limit.scope.startswith("day:") else "the pipeline's `budget`"
    mend = f"Raise {raised}, lower `max_tokens`, or take a cheaper model."
    return PolicyError(message, cause="budget_exceeded", mend=mend)
