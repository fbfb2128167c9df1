"""What the outcomes of a version at work say: worse than what was there before, not worse, or nothing yet."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from elexirion_dagster.store.betting import differences, differences_from, evidence
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.prompts import Canary, Pointer, PromptVersion, read
from elexirion_dagster.store.trials import Trial, trials

ALPHA = 0.05
"""The most that a version which is no worse is rolled back with, however often and how long it is looked at."""
MARGIN, FEWEST = 0.1, 50
"""A canary is promoted when it is not worse by this share of answers, but for ALPHA, after that many of them."""
_NEEDED = 1 / ALPHA


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done about a version that is watched, and why."""

    what: Literal["rollback", "stop", "promote", "wait"]
    version: str
    why: str


def verdict(home: Home, pipeline: str, step: str, now: Pointer) -> Verdict | None:
    """Judge what is at work in a slot; None where there is nothing to watch. StorageError for a damaged version.

    Watched are what was promoted last, against the outcomes of the version before it, and a canary, against the rows
    of the same time without it. What a rollback came back to was there before.
    """
    found = _promoted(home, pipeline, step, now)
    if now.canary is None or (found is not None and found.what == "rollback"):
        return found
    return _canary(home, pipeline, step, now, now.canary)


def _promoted(home: Home, pipeline: str, step: str, now: Pointer) -> Verdict | None:
    moves = [change for change in now.history if change.what in ("promote", "rollback")]
    if now.hash is None or not moves or moves[-1].what == "rollback" or now.hash in now.before[-1:]:
        return None
    version, since = read(home, pipeline, step, now.hash), _utc(moves[-1].at)
    old = _at_work(home, version, now.before[-1])
    rows = trials(home, pipeline, step, [version.hash, old])
    before = [row for row in reversed(rows) if row.version == old and row.at < since]
    after = [row for row in rows if row.version == version.hash and row.at >= since]
    found = evidence(-each for each in differences_from(_figures(before), _figures(after)))
    why = f"{_good(after)} since it was promoted, {_good(before)} with {old} before; {_said(found)} that it is worse"
    return Verdict("rollback" if found >= _NEEDED else "wait", version.hash, why)


def _canary(home: Home, pipeline: str, step: str, now: Pointer, canary: Canary) -> Verdict:
    version, since = read(home, pipeline, step, canary.hash), _utc(canary.since)
    old = _at_work(home, version, now.hash)
    rows = [row for row in trials(home, pipeline, step, [version.hash, old]) if row.at >= since]
    mine = [row for row in rows if row.version == version.hash]
    gains = list(differences((row.version == version.hash, float(row.good)) for row in rows))
    worse = evidence(-each for each in gains)
    why = f"{_good(mine)} of the canary, {_good([row for row in rows if row.version == old])} with {old} meanwhile"
    if worse >= _NEEDED:
        return Verdict("stop", version.hash, f"{why}; {_said(worse)} that it is worse")
    close = evidence(each + MARGIN for each in gains)
    proved = close >= _NEEDED and len(mine) >= FEWEST
    told = f"{_said(close)} that it is not worse by {MARGIN:.0%}, at least {FEWEST} rows wanted"
    return Verdict("promote" if proved else "wait", version.hash, f"{why}; {_said(worse)} that it is worse, {told}")


def _at_work(home: Home, version: PromptVersion, other: str | None) -> str:
    """What outcomes call the version that was in use beside or before this one.

    One made for another text of the YAML was stale: then the YAML itself was in use.
    """
    own = f"yaml:{version.base_hash}"
    if other is None:
        return own
    return other if read(home, version.pipeline, version.step, other).base_hash == version.base_hash else own


def _figures(rows: Iterable[Trial]) -> list[float]:
    return [float(row.good) for row in rows]


def _good(rows: Sequence[Trial]) -> str:
    return f"{sum(row.good for row in rows)} of {len(rows)} answers good"


def _said(found: float) -> str:
    return f"evidence {found:.1f} of {_NEEDED:.0f} (alpha {ALPHA})"


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)
