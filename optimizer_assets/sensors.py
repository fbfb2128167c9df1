"""When a prompt is optimised by itself: enough new outcomes, too few good ones, or once a week. All start stopped."""

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as Job

from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.learning import Optimize
from elexirion_dagster.spec.slots import SlotSpec
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.registry.prompts import pointer

_LOOK_EVERY_S = 300
_SUNDAY_NIGHT = "0 4 * * 0"
_FEWEST = 5
"""A share of fewer new outcomes is chance, and says nothing of a prompt that has become worse."""


def optimize_job(slot: SlotSpec, key: Sequence[str]) -> Job:
    """The job that counts outcomes, looks for a candidate, and puts to use what the gate lets pass."""
    candidate, prompt = dg.AssetKey([*key, "candidate"]), dg.AssetKey(list(key))
    return dg.define_asset_job(
        f"optimize_{slot.pipeline}__{slot.step.replace('.', '__')}",
        selection=dg.AssetSelection.assets(["outcomes", slot.pipeline], candidate, prompt),
        description=f"Look for a better prompt of {slot.pipeline}/{slot.step}; the gate decides.",
    )


def weekly(job: Job) -> dg.ScheduleDefinition:
    """Sunday night; stopped until a user starts it, as it spends money."""
    return dg.ScheduleDefinition(
        name=f"{job.name}_weekly",
        job=job,
        cron_schedule=_SUNDAY_NIGHT,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
    )


def learn_prompts(jobs: Sequence[tuple[SlotSpec, Job]]) -> dg.SensorDefinition:
    """Requests an optimisation when `optimize.begin` says so; stopped until a user starts it, as it spends money."""

    @dg.sensor(
        name="learn_prompts",
        jobs=[job for _, job in jobs],
        minimum_interval_seconds=_LOOK_EVERY_S,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Optimises a prompt after enough new outcomes, or when too few of them are good.",
    )
    def look(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        # DuckDB takes 100 ms to import (measured); loading the location need not wait for it.
        from elexirion_dagster.store.learned.learning import summary  # noqa: PLC0415

        home = open_home(Settings.from_env(os.environ).home)
        since: dict[str, str] = json.loads(context.cursor or "{}")
        now = datetime.now(UTC).isoformat()
        requests, notes = [], []
        for slot, job in jobs:
            address = f"{slot.pipeline}/{slot.step}"
            held = pointer(home, slot.pipeline, slot.step)
            if held.pinned or held.canary is not None:
                notes.append(f"{address} is {'pinned' if held.pinned else 'on trial'}")
                continue
            seen = summary(home, slot.pipeline, slot.step, since=since.get(address))
            why = due(slot.optimize or Optimize(), new=seen.new_rows, success=seen.success)
            notes.append(f"{address}: {why or f'{seen.new_rows} new outcomes'}")
            if why is not None:
                since[address] = now
                requests.append(dg.RunRequest(f"{address} {now}", job_name=job.name, tags={"elexirion/why": why}))
        if not requests:
            return dg.SkipReason("; ".join(notes))
        return dg.SensorResult(run_requests=requests, cursor=json.dumps(since))

    return look


def due(optimize: Optimize, *, new: int, success: float | None) -> str | None:
    """Why an optimisation is due, given the new outcomes since the last one and the share of good ones; else None."""
    if new >= optimize.begin.rows:
        return f"{new} new outcomes"
    if new >= max(_FEWEST, optimize.begin.rows // 5) and success is not None and success < optimize.begin.success_below:
        return f"{success:.0%} of the outcomes are good"
    return None
