"""When the last batch of a scan has ended: its numbers, top findings and checks go to the pipeline's asset, once."""

import json
from collections.abc import Iterable, Iterator, Mapping

import dagster as dg

from elexirion_dagster.codebase.identity import repository
from elexirion_dagster.compiler.checks import evaluations, metadata, standing
from elexirion_dagster.compiler.kept import kept_instance
from elexirion_dagster.compiler.partitions import absolute
from elexirion_dagster.compiler.schedules import UNDER_WAY, folders
from elexirion_dagster.errors import InputError
from elexirion_dagster.scan.plan import scope_digest
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.store.home import open_home
from elexirion_dagster.tags import SCAN_TAG


def nights_sensor(pipelines: Iterable[Pipeline], settings: Settings) -> dg.SensorDefinition:
    """Looks at the scans that schedules and pushes began; a scan from the command line speaks for itself."""
    watched = [one for one in pipelines if one.partitions and one.asset]

    @dg.sensor(
        name="record_scans",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Shows what scans in batches came to, once their last batch has ended.",
    )
    def record_scans(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        seen: dict[str, str] = json.loads(context.cursor) if context.cursor else {}
        recorded = 0
        instance = kept_instance(context)
        for pipeline in watched:
            ended = dict(_ended(instance, pipeline))
            if fresh := {scope: run for scope, run in ended.items() if seen.get(scope) != run}:
                _record(instance, pipeline, settings)
                seen |= fresh
                recorded += 1
        context.update_cursor(json.dumps(seen))
        return dg.SkipReason(f"recorded the scans of {recorded} pipelines")

    return record_scans


def _ended(instance: dg.DagsterInstance, pipeline: Pipeline) -> Iterator[tuple[str, str]]:
    """The newest batch of each repository that has no batch under way."""
    for folder in folders(pipeline):
        try:
            scope = scope_digest(pipeline.name, repository(absolute(folder)).identity)
        except InputError:  # the folder is gone; its schedule says so
            continue
        tags: Mapping[str, str] = {SCAN_TAG: scope}
        newest = instance.get_runs(dg.RunsFilter(tags=tags), limit=1)
        if newest and not instance.get_runs(dg.RunsFilter(tags=tags, statuses=UNDER_WAY), limit=1):
            yield scope, newest[0].run_id


def _record(instance: dg.DagsterInstance, pipeline: Pipeline, settings: Settings) -> None:
    key = dg.AssetKey((pipeline.asset or pipeline.name).split("/"))
    now = standing(open_home(settings.home), pipeline.name)
    instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=metadata(now)))
    for one in evaluations(key, pipeline, now):
        instance.report_runless_asset_event(one)
