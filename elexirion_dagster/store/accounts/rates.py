"""Rate buckets: when the next call to a provider or model may go out, over all processes of one home."""

import sqlite3
import time
from collections.abc import Mapping, Sequence

from elexirion_dagster.settings import Rate
from elexirion_dagster.store.accounts.ledger_file import LedgerFile

TOKEN_BURST_S = 10.0
"""A bucket of tokens holds what flows in during that time. One of requests holds one: servers may enforce 60 a minute
as one a second."""
LONGEST_S = 3600.0
"""A time further ahead than that was written before the clock was set back."""

_TABLES = """
CREATE TABLE IF NOT EXISTS buckets (
    name TEXT PRIMARY KEY, request_at REAL NOT NULL, tokens_at REAL NOT NULL
) WITHOUT ROWID;
"""


class Rates:
    """One bucket per limited name. A call that is let out late does not delay those behind it.

    A bucket is kept as the time at which it will be full again, for requests and for tokens, so that asking is one
    row read and written and nobody has to refill it.
    """

    def __init__(self, file: LedgerFile, rates: Mapping[str, Rate]) -> None:
        self._file = file
        self._rates = {name: rate for name, rate in rates.items() if rate.requests_per_s or rate.tokens_per_s}
        file.create(_TABLES)

    def place(self, names: Sequence[str], tokens: int, *, latest: float) -> float:
        """The time.time() at which a call of at most so many tokens may go out, by all of these names together.

        It is taken, unless it is later than `latest`.
        """
        limited = [name for name in names if name in self._rates]
        if not limited:
            return time.time()
        with self._file.transaction() as db:
            now = time.time()
            buckets = {name: _bucket(db, name, now) for name in limited}
            at = max(now, *(max(request, token - TOKEN_BURST_S) for request, token in buckets.values()))
            if at <= latest:
                for name, (_, tokens_at) in buckets.items():
                    self._write(db, name, at, max(at, tokens_at), tokens)
        return at

    def give_back(self, names: Sequence[str], tokens: int) -> None:
        """Return what a call had taken and not used."""
        limited = [name for name in names if name in self._rates and self._rates[name].tokens_per_s]
        if tokens > 0 and limited:
            with self._file.transaction() as db:
                for name in limited:
                    back_s = tokens / (self._rates[name].tokens_per_s or 1)
                    db.execute("UPDATE buckets SET tokens_at = tokens_at - ? WHERE name = ?", (back_s, name))

    def _write(self, db: sqlite3.Connection, name: str, at: float, tokens_at: float, tokens: int) -> None:
        rate = self._rates[name]
        request_at = at + 1 / rate.requests_per_s if rate.requests_per_s else 0.0
        tokens_at = tokens_at + tokens / rate.tokens_per_s if rate.tokens_per_s else 0.0
        db.execute("INSERT OR REPLACE INTO buckets VALUES (?, ?, ?)", (name, request_at, tokens_at))


def _bucket(db: sqlite3.Connection, name: str, now: float) -> tuple[float, float]:
    row = db.execute("SELECT request_at, tokens_at FROM buckets WHERE name = ?", (name,)).fetchone()
    request_at, tokens_at = row or (0.0, 0.0)
    return plausible(request_at, now), plausible(tokens_at, now)


def plausible(at: float, now: float) -> float:
    """The time, or now when it cannot be meant."""
    return at if at - now <= LONGEST_S else now
