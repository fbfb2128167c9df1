"""A pipeline's schedule and its sensor for pushes; both stopped until a user starts them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from elexirion_dagster.codebase.fetching import fetch
from elexirion_dagster.codebase.history import head
from elexirion_dagster.codebase.identity import repository
from elexirion_dagster.compiler.partitions import absolute, register
from elexirion_dagster.dialects.load import Loaded
from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.expressions import Engine
from elexirion_dagster.inputs import complete_inputs
from elexirion_dagster.records import Json, counted
from elexirion_dagster.scan.plan import Plan, Source, plan, root_of, scope_digest
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.partitioning import BATCH, repo_input
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.nights.scan_lock import busy
from elexirion_dagster.tags import SCAN_TAG

_PUSH_S = 30
UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def pipeline_schedule(loaded: Loaded, job: dg.JobDefinition, settings: Settings) -> dg.ScheduleDefinition | None:
    """The schedule with the inputs' defaults, or None for a pipeline without one or with required inputs.

    With partitions it requests runs for what is due, and none where nothing is.
    """
    pipeline = loaded.pipeline
    if pipeline.schedule is None or any(declared.required for declared in pipeline.inputs.values()):
        return None
    if pipeline.partitions is None:
        return dg.ScheduleDefinition(
            name=f"{pipeline.name}_schedule",
            job=job,
            cron_schedule=pipeline.schedule.cron,
            execution_timezone=pipeline.schedule.timezone,
            default_status=dg.DefaultScheduleStatus.STOPPED,
            run_config={},
        )

    @dg.schedule(
        name=f"{pipeline.name}_schedule",
        job=job,
        cron_schedule=pipeline.schedule.cron,
        execution_timezone=pipeline.schedule.timezone,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Scans what changed since the last scan, in batches.",
    )
    def scan_what_is_due(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        found = [_scan(loaded, folder, settings, context.instance, "head") for folder in folders(pipeline)]
        requests = [request for one in found for request in one.requests]
        for one in found:
            context.log.info("%s: %s", one.folder, one.told)
        yield from requests
        if not requests:
            yield dg.SkipReason("; ".join(f"{one.folder}: {one.told}" for one in found))

    return scan_what_is_due


def push_sensor(loaded: Loaded, job: dg.JobDefinition, settings: Settings) -> dg.SensorDefinition | None:
    """The sensor of `on: push`: scans a repository when the head of its branch moved. None without that key."""
    pipeline = loaded.pipeline
    if pipeline.on is None or pipeline.partitions is None:
        return None

    @dg.sensor(
        name=f"{pipeline.name}_push",
        job=job,
        minimum_interval_seconds=_PUSH_S,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Scans what changed when the head of the branch moves.",
    )
    def scan_what_was_pushed(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        seen: dict[str, str] = json.loads(context.cursor) if context.cursor else {}
        requests: list[dg.RunRequest] = []
        told = []
        for folder in folders(pipeline):
            at = _head(pipeline, folder)
            if at.commit is not None and seen.get(folder) == at.commit:
                told.append(f"{folder}: {at.told}")
                continue
            one = _scan(loaded, folder, settings, context.instance, "fetched") if at.commit else at
            requests += one.requests
            told.append(f"{folder}: {one.told}")
            if one.commit is not None:
                seen[folder] = one.commit
        cursor = json.dumps({folder: seen[folder] for folder in folders(pipeline) if folder in seen})
        if requests:
            return dg.SensorResult(run_requests=requests, cursor=cursor)
        return dg.SensorResult(skip_reason=dg.SkipReason("; ".join(told)), cursor=cursor)

    return scan_what_was_pushed


@dataclass(frozen=True, slots=True)
class _Scan:
    """What a tick found for one repository. `commit` is None where it could not be scanned now."""

    folder: str
    told: str
    commit: str | None = None
    requests: Sequence[dg.RunRequest] = ()


def folders(pipeline: Pipeline) -> list[str]:
    """The repositories of a pipeline: those under `repos`, else the default of its input."""
    if pipeline.repos:
        return [str(absolute(folder)) for folder in pipeline.repos]
    return [str(root_of(pipeline, complete_inputs(pipeline, {})))]


def _head(pipeline: Pipeline, folder: str) -> _Scan:
    """Where the branch of a repository is; the remote's is fetched first if the pipeline says so."""
    try:
        place = repository(absolute(folder))
        wanted = pipeline.partitions
        if wanted is None or not place.git:
            return _Scan(folder, "git knows of no repository there, so nothing is pushed to it")
        if wanted.fetch:
            fetch(place.root, wanted.branch)
        commit, _ = head(place.root, wanted.branch, fetched=wanted.fetch)
    except ElexirionError as error:
        return _Scan(folder, str(error))
    return _Scan(folder, f"nothing was pushed since {commit[:12]}", commit)


def _scan(loaded: Loaded, folder: str, settings: Settings, instance: dg.DagsterInstance, source: Source) -> _Scan:
    """Find out what is due in one repository; whatever is wrong with it, the others are scanned."""
    pipeline = loaded.pipeline
    try:
        inputs = {str(repo_input(pipeline, Engine())): folder}
        place = repository(absolute(folder))
        scope = scope_digest(pipeline.name, place.identity)
        if who := _under_way(instance, scope) or busy(open_home(settings.home), scope):
            return _Scan(folder, f"not begun, an earlier scan is under way: {who}")
        found = plan(pipeline, inputs, settings, pipelines=loaded.pipelines, source=source)
        register(instance, found)
        requests = list(_requests(pipeline, found, inputs, scope))
    except ElexirionError as error:
        return _Scan(folder, f"not scanned: {error}")
    notes = "".join(f"; {note}" for note in found.notes)
    due = f"{counted(len(found.due), 'file')} due in {counted(len(requests), 'run')}" if requests else "nothing is due"
    return _Scan(folder, f"{due}{notes}", found.tree.commit, requests)


def _under_way(instance: dg.DagsterInstance, scope: str) -> str | None:
    runs = instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY, tags={SCAN_TAG: scope}), limit=1)
    return f"run {runs[0].run_id} is {runs[0].status.value.lower()}" if runs else None


def _requests(pipeline: Pipeline, found: Plan, inputs: Mapping[str, Json], scope: str) -> Iterator[dg.RunRequest]:
    most = pipeline.partitions.files_per_run if pipeline.partitions else None
    for number, batch in enumerate(found.batches(most)):
        at = found.tree.commit or f"tree-{found.scan}"
        yield dg.RunRequest(
            run_key=f"scan:{scope}:{at}:{found.night}:{number}",
            run_config={**inputs, BATCH: batch.to_json()},
            tags={SCAN_TAG: scope},
        )
