"""Recoveries that wait: until a moment, or until the models that they need take calls again."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Self

from elexirion_dagster.recovery.decide import LONGEST_PAUSE_S
from elexirion_dagster.recovery.outage import Look
from elexirion_dagster.recovery.plan import Plan

PROBE_S = 60.0
"""How long the one run that finds out whether a model is well again has for its first call, before another is sent."""
_LOOK_S = 2.0
"""When to look again at a model that a call finds out about."""


@dataclass(slots=True)
class Cursor:
    """The last failure seen, the plans that wait (failed run to the next look at them), the last success.

    `probes` says when a run was last sent to find out about a model. Cursors of before lack `ended` or `probes`.
    """

    after: int
    waiting: dict[str, float] = field(default_factory=dict)
    ended: int | None = None
    probes: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str | None, newest_failure: Callable[[], int], newest_success: Callable[[], int]) -> Self:
        """What the last tick left; the newest failure and success there are on the first one."""
        cursor = cls(**json.loads(text)) if text else cls(newest_failure())
        if cursor.ended is None:
            cursor.ended = newest_success()
        return cursor

    def text(self) -> str:
        """As it is kept between ticks, and over restarts."""
        return json.dumps(asdict(self))

    def due(self) -> list[str]:
        """The failed runs to look at now; no wait for a look is that long, but clocks are set back."""
        now = time.time()
        return [run for run, at in self.waiting.items() if not 0 < at - now <= LONGEST_PAUSE_S]


def next_look(plan: Plan, cursor: Cursor, look: Look, now: float) -> float | None:
    """When to look at a plan again; None when its runs are to start now.

    A model that may be well again gets one run, whose first call finds out; the others go on waiting for what it finds.
    """
    if not plan.awaits:
        later = plan.due_at is not None and 0 < plan.due_at - now <= LONGEST_PAUSE_S
        return plan.due_at if later else None
    if plan.latest_at is not None and now >= plan.latest_at:
        return None
    times = [_next(models, cursor, look, now) for models in plan.awaits]
    waits = [at for at, _ in times if at is not None]
    if waits:
        return min(max(waits), plan.latest_at or max(waits))
    for _, probed in times:
        if probed is not None:
            cursor.probes[probed] = now
    return None


def _next(models: tuple[str, ...], cursor: Cursor, look: Look, now: float) -> tuple[float | None, str | None]:
    """When one of the models may be called, None: now; and the one that the call would find out about."""
    moments = []
    for model in models:
        shut = look(model)
        if shut is None:
            cursor.probes.pop(model, None)
            return None, None
        if shut.until > now:
            moments.append(shut.until)
        elif shut.probing or 0 <= now - cursor.probes.get(model, 0.0) < PROBE_S:
            moments.append(now + _LOOK_S)
        else:
            return None, model
    return min(moments), None
