"""What the outcomes of a version at work say: worse than what was there before, not worse, or nothing yet."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from elexirion_dagster.store.home import Home
from elexirion_dagster.store.registry.betting import differences, differences_from, evidence
from elexirion_dagster.store.registry.prompts import Canary, Pointer, PromptVersion, read
from elexirion_dagster.store.registry.trials import Trial, trials

ALPHA = 0.05
"""The most that a version which is no worse is rolled back with, however often and how long it is looked at."""
MARGIN, FEWEST = 0.1, 50
"""A canary is promoted when it is not worse by this share of answers, but for ALPHA, after that many of them."""
_WORSE, _CLOSE = 2 / ALPHA, 1 / ALPHA
"""The evidence wanted. Two tests, of answers and of scores, share a rollback's ALPHA; a promotion must pass both."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done about a version that is watched, and why."""

    what: Literal["rollback", "stop", "promote", "wait"]
    version: str
    why: str


class _Measure(NamedTuple):
    """New minus old by one measure, in the order in which it became known."""

    name: str
    gains: Sequence[float]

    @property
    def worse(self) -> float:
        return evidence(-gain for gain in self.gains)

    @property
    def close(self) -> float:
        return evidence(gain + MARGIN for gain in self.gains)


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
    measures = (
        _Measure("answers", list(differences_from(_answers(before), _answers(after)))),
        _Measure("scores", list(differences_from(_scores(before)[::-1], _scores(after)))),
    )
    why = f"{_told(after)} since it was promoted; before, with {old}, {_told(before)}; {_worse(measures)}"
    worse = max(measure.worse for measure in measures) >= _WORSE
    return Verdict("rollback" if worse else "wait", version.hash, why)


def _canary(home: Home, pipeline: str, step: str, now: Pointer, canary: Canary) -> Verdict:
    version, since = read(home, pipeline, step, canary.hash), _utc(canary.since)
    old = _at_work(home, version, now.hash)
    rows = [row for row in trials(home, pipeline, step, [version.hash, old]) if row.at >= since]
    mine, others = ([row for row in rows if row.version == one] for one in (version.hash, old))
    answers = _Measure("answers", list(differences((row.version == version.hash, float(row.good)) for row in rows)))
    scored = [(row.version == version.hash, row.score) for row in _by_score(rows) if row.score is not None]
    scores = _Measure("scores", list(differences(scored)))
    why = f"{_told(mine)} of the canary; meanwhile, with {old}, {_told(others)}; {_worse((answers, scores))}"
    if max(answers.worse, scores.worse) >= _WORSE:
        return Verdict("stop", version.hash, why)
    needed = [answers, *([scores] if 2 * len(_scores(mine)) >= len(mine) else [])]
    proved = all(measure.close >= _CLOSE for measure in needed) and len(mine) >= FEWEST
    close = ", ".join(f"{measure.close:.1f} ({measure.name})" for measure in needed)
    told = f"evidence that it is not worse by {MARGIN:.0%}: {close} of {_CLOSE:.0f}, on at least {FEWEST} answers"
    return Verdict("promote" if proved else "wait", version.hash, f"{why}; {told}")


def _at_work(home: Home, version: PromptVersion, other: str | None) -> str:
    """What outcomes call the version that was in use beside or before this one.

    One made for another text of the YAML was stale: then the YAML itself was in use.
    """
    own = f"yaml:{version.base_hash}"
    if other is None:
        return own
    return other if read(home, version.pipeline, version.step, other).base_hash == version.base_hash else own


def _answers(rows: Iterable[Trial]) -> list[float]:
    return [float(row.good) for row in rows]


def _by_score(rows: Iterable[Trial]) -> list[Trial]:
    """Those that somebody scored, in the order in which the scores came."""
    return sorted((row for row in rows if row.score is not None), key=lambda row: row.scored_at or row.at)


def _scores(rows: Iterable[Trial]) -> list[float]:
    return [row.score for row in _by_score(rows) if row.score is not None]


def _told(rows: Sequence[Trial]) -> str:
    scores = _scores(rows)
    mean = f", scored {sum(scores) / len(scores):.2f} on average of {len(scores)}" if scores else ""
    return f"{sum(row.good for row in rows)} of {len(rows)} answers good{mean}"


def _worse(measures: Iterable[_Measure]) -> str:
    found = ", ".join(f"{measure.worse:.1f} ({measure.name})" for measure in measures if measure.gains)
    return f"evidence that it is worse: {found or 'none'} of {_WORSE:.0f} (alpha {ALPHA})"


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)
