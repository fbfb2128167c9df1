"""Watches prompt versions at work: rolls back what is worse, ends or promotes canaries. The optimizer may be down."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from elexirion_dagster.compiler.telling import alert
from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.home import Home, open_home
from elexirion_dagster.store.registry.promotions import promote, rollback, stop
from elexirion_dagster.store.registry.prompts import Pointer, pointer, slots
from elexirion_dagster.store.registry.verdicts import Verdict, verdict

_SHOWN = 10


def prompts_sensor(settings: Settings) -> dg.SensorDefinition:
    """Looks whenever there are new outcomes; the test behind it stays valid however often that is."""

    @dg.sensor(
        name="watch_prompts",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Rolls back prompts that do worse than those before; stops or promotes canaries.",
    )
    def watch_prompts(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        home = open_home(settings.home)
        news = _state(home.outcomes_db)
        watched = [slot for slot in slots(home) if news != context.cursor]
        seen = [one for slot in watched if (one := _look(context, home, slot)) is not None]
        for one in seen:
            context.log.info(one.told)
            if one.changed is not None:
                change = {"slot": one.address, "what": one.changed.what, "version": one.changed.version}
                alert(context, settings, {"event": "prompt_changed", **change, "why": one.changed.why})
        nothing = "no version is on trial or newly promoted" if watched else "no new outcomes"
        again = any(one.failed for one in seen)
        return dg.SensorResult(skip_reason=_summary(seen) or nothing, cursor=context.cursor if again else news)

    return watch_prompts


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was seen of a slot and done about it; `failed`: it is to be looked at again."""

    address: str
    told: str
    changed: Verdict | None = None
    failed: bool = False


def _summary(seen: Sequence[_Seen]) -> str:
    """What the tick says: first what was changed; the rest is in its log."""
    told = [one.told for one in sorted(seen, key=lambda one: one.changed is None)]
    more = [f"and {len(told) - _SHOWN} more, see the log"] if len(told) > _SHOWN else []
    return "; ".join([*told[:_SHOWN], *more])


def _look(context: dg.SensorEvaluationContext, home: Home, slot: tuple[str, str]) -> _Seen | None:
    """Judge one slot and act on it; None where there is nothing to watch. A damaged one must not stop the rest."""
    address = "/".join(slot)
    try:
        now = pointer(home, *slot)
        if now.pinned and (now.canary or now.hash):
            return _Seen(address, f"{address} is pinned and left alone")
        found = verdict(home, *slot, now)
        if found is None:
            return None
        if found.what == "wait":
            return _Seen(address, f"{address} goes on with {found.version}: {found.why}")
        told = _act(home, slot, now, found)
    except ElexirionError as error:
        context.log.error("%s is not watched: %s", address, error)  # noqa: TRY400 - said in words
        return _Seen(address, f"{address} is not watched: {error.message}", failed=True)
    return _Seen(address, f"{address}: {told}: {found.why}", found)


def _act(home: Home, slot: tuple[str, str], now: Pointer, found: Verdict) -> str:
    """Move the pointer, unless somebody has moved it since; returns what was done."""
    match found.what:
        case "rollback":
            back = rollback(home, *slot, why=found.why, by="watch", seen=now)
            return f"rolled back from {found.version} to {back or 'the text of the YAML'}"
        case "stop":
            stop(home, *slot, why=found.why, by="watch", seen=now)
            return f"the canary {found.version} was stopped"
        case _:
            promote(home, *slot, found.version, why=found.why, by="watch", seen=now)
            return f"the canary {found.version} was promoted"


def _state(file: Path) -> str:
    """A mark of the tables as they are: another one after every ingest."""
    if not file.exists():
        return ""
    about = file.stat()
    return f"{about.st_mtime_ns} {about.st_size}"
