"""A folder of YAML files to Dagster definitions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import dagster as dg

from elexirion_dagster.compiler.checks import scan_checks
from elexirion_dagster.compiler.jobs import broken_job, job_of, nodes_of
from elexirion_dagster.compiler.nights import nights_sensor
from elexirion_dagster.compiler.ops import IO_MANAGER, Finish
from elexirion_dagster.compiler.partitions import files_asset, picked_resource, result_asset
from elexirion_dagster.compiler.resources import RUN
from elexirion_dagster.compiler.schedules import pipeline_schedule, push_sensor
from elexirion_dagster.compiler.values import json_io_manager
from elexirion_dagster.dialects.library import NO_FILES
from elexirion_dagster.dialects.load import Loaded, load_any
from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.pipeline import Pipeline


def compile_files(
    files: Iterable[Path],
    settings: Settings,
    *,
    known: Mapping[str, Path] = NO_FILES,
    refused: Mapping[str, ElexirionError] = MappingProxyType({}),
    executor: dg.ExecutorDefinition,
    finish: Finish,
    sensors: Sequence[dg.SensorDefinition] = (),
) -> dg.Definitions:
    """What each file asks for; a broken file becomes the job `<stem>__broken`.

    `known` are the files of the pipelines that others may run, by name. A name in `refused` becomes such a job too.
    """
    made: list[Compiled] = []
    broken: list[tuple[str, Exception]] = [*refused.items()]
    for file in files:
        try:
            made.append(compiled(load_any(file, known), settings, executor, finish))
        except Exception as error:  # noqa: BLE001 - whatever one file does, the others stay usable
            broken.append((file.stem, error))
    jobs = {one.job.name: one.job for one in made}
    for stem, reason in broken:
        name = _free_name(stem, jobs)
        jobs[name] = broken_job(name, reason, executor)
    assets = [one.asset for one in made if one.asset]
    results = {spec.key: spec for one in made if (spec := result_asset(one.loaded.pipeline)) is not None}
    picked = {one.loaded.pipeline.name: one.loaded for one in made if one.asset}
    return dg.Definitions(
        jobs=list(jobs.values()),
        schedules=[one.schedule for one in made if one.schedule],
        sensors=[*sensors, *(one.sensor for one in made if one.sensor), *_watching(picked, settings)],
        assets=[*assets, *results.values()],
        asset_checks=[check for one in picked.values() for check in _checks(one.pipeline, settings)],
        resources={RUN: picked_resource(picked, settings), IO_MANAGER: json_io_manager} if assets else {},
        executor=executor,
    )


def _watching(picked: Mapping[str, Loaded], settings: Settings) -> list[dg.SensorDefinition]:
    """The sensor that records scans, where there are any."""
    return [nights_sensor([one.pipeline for one in picked.values()], settings)] if picked else []


def _checks(pipeline: Pipeline, settings: Settings) -> list[dg.AssetChecksDefinition]:
    return scan_checks(dg.AssetKey(pipeline.asset.split("/")), pipeline, settings) if pipeline.asset else []


@dataclass(frozen=True, slots=True)
class Compiled:
    """What one pipeline is in Dagster: its job, and as far as it asks for them the others."""

    loaded: Loaded
    job: dg.JobDefinition
    schedule: dg.ScheduleDefinition | None
    sensor: dg.SensorDefinition | None
    asset: dg.AssetsDefinition | None


def compiled(loaded: Loaded, settings: Settings, executor: dg.ExecutorDefinition | None, finish: Finish) -> Compiled:
    """Compile one pipeline. Raises PipelineError where Dagster refuses it."""
    pipeline = loaded.pipeline
    nodes = nodes_of(pipeline, finish, loaded.pipelines)
    job = job_of(pipeline, nodes, settings, executor, loaded.pipelines, file=loaded.document.file)
    return Compiled(
        loaded,
        job,
        pipeline_schedule(loaded, job, settings),
        push_sensor(loaded, job, settings),
        files_asset(pipeline, nodes) if pipeline.partitions else None,
    )


def definitions_of(
    loaded: Iterable[Loaded], settings: Settings, *, executor: dg.ExecutorDefinition, finish: Finish
) -> dg.Definitions:
    """One job per pipeline, its schedule and sensor if it has them. Raises PipelineError where Dagster refuses one.

    Assets of files need resources that all of a location share, so only a whole location has them.
    """
    made = [compiled(one, settings, executor, finish) for one in loaded]
    return dg.Definitions(
        jobs=[one.job for one in made],
        schedules=[one.schedule for one in made if one.schedule],
        sensors=[one.sensor for one in made if one.sensor],
    )


def _free_name(stem: str, taken: Iterable[str]) -> str:
    """`<stem>__broken` in letters that Dagster takes, numbered where another job has that name."""
    plain = "".join(char if char.isascii() and char.isalnum() else "_" for char in stem)
    name, number = f"{plain}__broken", 2
    while name in taken:
        name, number = f"{plain}__broken_{number}", number + 1
    return name
