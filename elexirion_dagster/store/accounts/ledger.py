"""The ledger: what may be spent, over all processes of one home, in one SQLite file."""

import json
import sqlite3
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from elexirion_dagster.errors import PolicyError
from elexirion_dagster.store.accounts.ledger_file import LedgerFile, lives
from elexirion_dagster.store.home import Home

_NANO = 1_000_000_000
"""Dollars are kept as whole nano-dollars: sums of floats drift, and ten times 0.1 must fit into 1."""

PRICE_MEND = (
    "Put its price into a file and name that in ELEXIRION_PRICES (a price of 0 counts it as free), "
    "or limit tokens instead of dollars."
)
"""How to mend that a budget in dollars meets a model without a known price."""
Lacking = Literal["price", "usd", "tokens"]
"""What keeps a call from being held."""

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
    """What a scope may cost in all; None: counted, not limited.

    Scopes are `run:<root_run>`, `step:<root_run>:<path with item keys>` and `day:2026-11-22`.
    """

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

    def has_room(self, limits: Sequence[Limit], *, usd: float | None, tokens: int) -> bool:
        """Whether `reserve` would hold these bounds now; nothing is held."""
        with self.file.transaction() as db:
            return not any(_lacking(db, limit, usd, tokens) for limit in limits)

    def will_have_room(self, limits: Sequence[Limit], *, usd: float | None, tokens: int) -> bool:
        """Whether `reserve` would hold these bounds if everything that living processes reserve came to nothing."""
        with self.file.transaction() as db:
            return all(_fits(limit, _spend(db, limit.scope), usd, tokens) for limit in limits)

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


def _lacking(db: sqlite3.Connection, limit: Limit, usd: float | None, tokens: int) -> Lacking | None:
    nano_now, tokens_now = _sum(db, limit.scope)
    if limit.usd is not None and usd is None:
        return "price"
    if limit.usd is not None and nano_now + _nano(usd) > _nano(limit.usd):
        return "usd"
    return "tokens" if limit.tokens is not None and tokens_now + tokens > limit.tokens else None


def _fits(limit: Limit, spend: Spend, usd: float | None, tokens: int) -> bool:
    dollars = limit.usd is None or (usd is not None and _nano(spend.usd) + _nano(usd) <= _nano(limit.usd))
    return dollars and (limit.tokens is None or spend.tokens + tokens <= limit.tokens)


def _check(db: sqlite3.Connection, limit: Limit, usd: float | None, tokens: int) -> None:
    lacking = _lacking(db, limit, usd, tokens)
    if lacking is None:
        return
    whose, raised = _words(limit.scope)
    if lacking == "price":
        raise PolicyError(
            f"{whose} may cost ${limit.usd:.6g}, and the price of this model is not known",
            cause="budget_exceeded",
            mend=PRICE_MEND,
        )
    spend = _spend(db, limit.scope)
    if lacking == "usd":
        most, asked = f"${limit.usd:.6g}", f"${usd or 0.0:.6g}"
        spent, reserved = f"${spend.usd:.6g}", f"${spend.reserved_usd:.6g}"
    else:
        most, asked = f"{limit.tokens} tokens", f"{tokens}"
        spent, reserved = f"{spend.tokens}", f"{spend.reserved_tokens}"
    message = f"{whose} may spend {most}: {spent} are spent and {reserved} reserved, this call may need {asked}"
    mend = f"Raise {raised}, lower `max_tokens`, or take a cheaper model."
    raise PolicyError(message, cause="budget_exceeded", mend=mend)


def _words(scope: str) -> tuple[str, str]:
    """Whose budget a scope is, and what sets it."""
    kind, _, rest = scope.partition(":")
    match kind:
        case "day":
            return "today's runs", "ELEXIRION_BUDGET_USD_PER_DAY or ELEXIRION_BUDGET_TOKENS_PER_DAY"
        case "step":
            return f"the step {rest.partition(':')[2]}", "its `budget`"
        case "optimize":
            return f"the optimisation of {rest.partition(':')[2]}", "`optimize.budget.usd`"
        case _:
            return "this run and what continues it", "the pipeline's `budget`"


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
