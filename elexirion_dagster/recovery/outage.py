"""Waiting for providers: while the circuit breakers of all models of a call are open, going on means to fail again."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from elexirion_dagster.recovery.plan import Failed
from elexirion_dagster.spec.base import CALL_CAUSES
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.store.accounts.gates import Shut
from elexirion_dagster.store.failures.recoveries import Past

_SHORTEST_S = 10.0
"""A wait counts as at least so long, so that very short ones come to an end too."""
Look = Callable[[str], Shut | None]
"""Why a model takes no calls now, or only one that finds out; None when it takes calls."""


@dataclass(frozen=True, slots=True)
class Outage:
    """The models, a list per call, of which one each must take calls again; when that may be; whether some do not yet.

    `ready_at` is in seconds since 1970. `is_over` says that the failed calls were refused while a breaker was open, and
    that no call would be refused now.
    """

    awaits: tuple[tuple[str, ...], ...]
    ready_at: float
    is_over: bool

    @property
    def names(self) -> str:
        """The models, for people."""
        return ", ".join(dict.fromkeys(model for models in self.awaits for model in models))


def outage(failed: Failed, past: Past, look: Look, now: float) -> Outage | None:
    """What a failed run has to wait for; None when that would not help."""
    if failed.cause not in CALL_CAUSES:
        return None
    calls = [call for call in past.given_up.get(failed.run, ()) if call.cause in CALL_CAUSES]
    lists = tuple(dict.fromkeys(call.models for call in calls))
    closed = {models: _closed(models, look) for models in lists}
    if not any(closed.values()):
        return Outage(lists, now, is_over=True) if any(call.refused for call in calls) else None
    ready = [min(shut.until for shut in shuts) for shuts in closed.values() if shuts]
    return Outage(tuple(models for models in lists if closed[models]), max(now, *ready), is_over=False)


def _closed(models: tuple[str, ...], look: Look) -> list[Shut]:
    """Why each of the models takes no calls; nothing when one of them does."""
    shuts = [look(model) for model in models]
    found = [shut for shut in shuts if shut is not None]
    return found if len(found) == len(models) else []


def most_wait_s(past: Past, pipeline: Pipeline) -> float:
    """The bound of the root run: that of the pipeline which failed first."""
    known = [line["max_wait_s"] for line in past.decided.values() if line.get("max_wait_s") is not None]
    return float(known[0]) if known else pipeline.limits.max_wait_s


def waited_s(past: Past, now: float) -> float:
    """How long the recoveries of a root run have waited for providers so far."""
    waits = [(run, line) for run, line in past.decided.items() if line.get("awaits")]
    return sum(max(_ended(run, past, now) - _decided_at(line["ts"]), _SHORTEST_S) for run, line in waits)


def _ended(run: str, past: Past, now: float) -> float:
    """When the run that went on with this one began; where it was lost before, when it was failed."""
    lost = [float(line["failed_at"]) for line in past.decided.values() if line.get("recovery_of") == run]
    return min(now, past.continued_at.get(run, now), *lost)


def _decided_at(ts: str) -> float:
    return datetime.fromisoformat(ts).astimezone(UTC).timestamp()
