"""Looks after the house: the asset `system_health`, and an alert when the health of a part changes."""

import json
import time
from dataclasses import asdict

import dagster as dg

from elexirion_dagster.compiler.kept import kept_instance
from elexirion_dagster.compiler.telling import alert
from elexirion_dagster.configuration import faults
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.failures.health import Health, State, pipelines, providers, worst
from elexirion_dagster.store.home import open_home

ASSET = "system_health"
_DEGRADED_S, _CRITICAL_S = 60.0, 600.0
_MOST_ROWS = 100
HEALTH_ASSET = dg.AssetSpec(
    ASSET,
    description="healthy, degraded or critical, per provider, pipeline and queue; a new materialisation per change.",
    group_name="elexirion",
)


def queue(instance: dg.DagsterInstance) -> Health:
    """By how long the oldest run has been waiting in Dagster's queue."""
    waiting = instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED]), ascending=True)
    oldest_s = max((time.time() - record.create_timestamp.timestamp() for record in waiting), default=0.0)
    state: State = "critical" if oldest_s > _CRITICAL_S else "degraded" if oldest_s > _DEGRADED_S else "healthy"
    why = f"{len(waiting)} runs wait, the oldest for {oldest_s:.0f} s" if waiting else "no run waits"
    return Health("queue", "runs", state, why)


def measured(settings: Settings, instance: dg.DagsterInstance) -> list[Health]:
    """Every part of which there are figures."""
    home = open_home(settings.home)
    wrong = [Health("setting", one.variable, "critical", one.why) for one in faults(settings)]
    return [*wrong, *providers(home), *pipelines(home), queue(instance)]


def health_sensor(settings: Settings) -> dg.SensorDefinition:
    """Materialises `system_health` and alerts when a part's health has changed; what was never seen was healthy."""

    @dg.sensor(
        name="watch_health",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells when the health of a provider, a pipeline or the queue changes.",
    )
    def watch_health(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        before: dict[str, str] = json.loads(context.cursor or "{}")
        parts = measured(settings, kept_instance(context))
        now = {f"{part.kind} {part.name}": part.state for part in parts}
        changed = [part for part in parts if part.state != before.get(f"{part.kind} {part.name}", "healthy")]
        gone = {name: state for name, state in before.items() if name not in now and state != "healthy"}
        if changed:
            told = [{**asdict(part), "was": before.get(f"{part.kind} {part.name}", "healthy")} for part in changed]
            alert(context, settings, {"event": "health_changed", "changes": told})
        said = ", ".join(f"{part.kind} {part.name} is {part.state}" for part in changed) or "nothing changed"
        return dg.SensorResult(
            skip_reason=said,
            cursor=json.dumps({**gone, **now}),
            asset_events=[_materialised(parts)] if changed or not context.cursor else [],
        )

    return watch_health


def _materialised(parts: list[Health]) -> dg.AssetMaterialization:
    counts = {state: sum(part.state == state for part in parts) for state in ("healthy", "degraded", "critical")}
    rows = [dg.TableRecord({name: str(value) for name, value in asdict(part).items()}) for part in parts[:_MOST_ROWS]]
    table = {"parts": dg.MetadataValue.table(rows)} if rows else {}
    return dg.AssetMaterialization(ASSET, metadata={"state": worst(parts), **counts, **table})
