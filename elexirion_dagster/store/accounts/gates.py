"""Gates: which models are left alone for a while, ill or at their own wish, over all processes of one home."""

import sqlite3
import time
from dataclasses import dataclass

from elexirion_dagster.errors import Cause
from elexirion_dagster.store.accounts.ledger_file import LedgerFile, Owner, lives
from elexirion_dagster.store.accounts.rates import LONGEST_S, plausible

FAILURES = 5
"""So many in a row, and the model counts as ill."""
COOL_S = 15.0
"""How long an ill model is left alone before one call may try it."""
FORGET_S = 600.0
"""What a gate knows is forgotten when nothing was added for so long."""
BELIEF_S = 0.05
"""How long a model that nothing is known against is believed to be well before the next look at other processes."""

_ILL: frozenset[Cause] = frozenset({"overloaded", "timeout", "connection"})
_SAYS_NOTHING: frozenset[Cause] = frozenset({"cancelled", "budget_exceeded", "storage", "unknown"})
"""Causes that lie on our side, whatever the model is like."""
_HINTED: frozenset[Cause] = frozenset({"rate_limited", "overloaded"})
_TABLES = """
CREATE TABLE IF NOT EXISTS gates (
    model TEXT PRIMARY KEY, failures INTEGER NOT NULL, cause TEXT NOT NULL,
    shut_since REAL NOT NULL, shut_until REAL NOT NULL, probe_since REAL, pid INTEGER, process_started REAL
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Shut:
    """Why a model takes no calls now, by time.time(). `ill`: it failed; else its server asked for the pause.

    With `probing`, one call has been trying it since `since`, and its end will tell.
    """

    cause: Cause
    since: float
    until: float
    ill: bool
    probing: bool


@dataclass(slots=True)
class _Gate:
    """A row: `failures` in a row so far; from FAILURES on, one call at a time (`prober`) passes after `shut_until`."""

    failures: int
    cause: Cause
    shut_since: float
    shut_until: float
    probe_since: float | None = None
    prober: Owner | None = None

    @property
    def ill(self) -> bool:
        return self.failures >= FAILURES


class Gates:
    """One gate per model. A healthy model costs a row read now and then, and nothing written."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file
        self._well_until: dict[str, float] = {}
        file.create(_TABLES)

    def is_free(self, model: str) -> bool:
        """Whether nothing at all speaks against a call."""
        if self._is_well(model):
            return True
        rows = self._file.read(_SELECT, (model,))
        if not rows:
            self._well_until[model] = time.monotonic() + BELIEF_S
        gate = _gate(rows, time.time())
        return gate is None or (not gate.ill and gate.shut_until <= time.time())

    def look(self, model: str) -> Shut | None:
        """Why a model takes no calls, or only one that finds out; None when it takes calls. Changes nothing."""
        now = time.time()
        gate = _gate(self._file.read(_SELECT, (model,)), now)
        if gate is None or (not gate.ill and gate.shut_until <= now):
            return None
        probing = gate.probe_since is not None and gate.prober is not None and lives(gate.prober)
        return Shut(gate.cause, gate.shut_since, gate.shut_until, gate.ill, probing)

    def _is_well(self, model: str) -> bool:
        """Whether nothing at all was written about a model a moment ago."""
        return self._well_until.get(model, 0.0) > time.monotonic()

    def enter(self, model: str) -> Shut | bool:
        """Whether the call that may go now is a probe, whose end must be told; or why no call may go."""
        if self.is_free(model):
            return False
        with self._file.transaction() as db:
            now = time.time()
            gate = _gate(db.execute(_SELECT, (model,)).fetchall(), now)
            if gate is None or (not gate.ill and gate.shut_until <= now):
                return False
            if gate.shut_until > now:
                return Shut(gate.cause, gate.shut_since, gate.shut_until, gate.ill, probing=False)
            if gate.probe_since is not None and gate.prober is not None and lives(gate.prober):
                return Shut(gate.cause, gate.probe_since, now, ill=True, probing=True)
            gate.probe_since, gate.prober = now, self._file.owner
            _write(db, model, gate)
            return True

    def tell(self, model: str, cause: Cause | None, *, retry_after_s: float | None, probe: bool) -> None:
        """How a call ended: None is a reply. `probe`: it was let through to find out."""
        ill = cause in _ILL
        pause_s = min(retry_after_s or 0.0, LONGEST_S) if cause in _HINTED else 0.0
        says_ill = ill or pause_s or probe
        if not says_ill and (cause in _SAYS_NOTHING or self._is_well(model) or not self._file.read(_FAILED, (model,))):
            return
        self._well_until.pop(model, None)
        with self._file.transaction() as db:
            now = time.time()
            gate = _gate(db.execute(_SELECT, (model,)).fetchall(), now) or _Gate(0, cause or "unknown", now, 0.0)
            if probe:
                gate.probe_since = gate.prober = None
            if cause not in _SAYS_NOTHING:
                _judge(gate, cause, pause_s, now)
            _write(db, model, gate)


def _judge(gate: _Gate, cause: Cause | None, pause_s: float, now: float) -> None:
    """Count a failure, note a wish to be left alone, or take a sign of life for what it is."""
    if cause in _ILL:
        gate.failures += 1
    elif gate.failures:
        gate.shut_until = now if gate.ill else gate.shut_until
        gate.failures = 0
        gate.probe_since = gate.prober = None
    if cause in _ILL or pause_s:
        if gate.shut_until <= now and gate.failures <= FAILURES:
            gate.shut_since = now
        gate.shut_until = max(gate.shut_until, now + max(pause_s, COOL_S if gate.ill else 0.0))
        gate.cause = cause or gate.cause


_SELECT = "SELECT * FROM gates WHERE model = ?"
_FAILED = "SELECT 1 FROM gates WHERE model = ? AND failures > 0"


def _gate(rows: list[tuple[object, ...]], now: float) -> _Gate | None:
    if not rows:
        return None
    _, failures, cause, since, until, probe_since, pid, started = rows[0]
    prober = None if pid is None else (pid, started)
    gate = _Gate(failures, cause, since, until, probe_since, prober)  # type: ignore[arg-type]
    gate.shut_until = plausible(gate.shut_until, now)
    return gate if now - gate.shut_until < FORGET_S else None


def _write(db: sqlite3.Connection, model: str, gate: _Gate) -> None:
    row = (model, gate.failures, gate.cause, gate.shut_since, gate.shut_until, gate.probe_since)
    db.execute("INSERT OR REPLACE INTO gates VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, *(gate.prober or (None, None))))
