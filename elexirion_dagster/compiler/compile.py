"""A folder of YAML files to Dagster definitions."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import dagster as dg

from elexirion_dagster.compiler.jobs import broken_job, pipeline_job
from elexirion_dagster.compiler.ops import Finish
from elexirion_dagster.compiler.schedules import pipeline_schedule
from elexirion_dagster.dialects.load import load_any
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.pipeline import Pipeline


def compile_files(
    files: Iterable[Path],
    settings: Settings,
    *,
    executor: dg.ExecutorDefinition,
    finish: Finish,
    sensors: Sequence[dg.SensorDefinition] = (),
) -> dg.Definitions:
    """One job per file, a schedule where the file has one; a broken file becomes the job `<stem>__broken`."""
    jobs: dict[str, dg.JobDefinition] = {}
    schedules: list[dg.ScheduleDefinition] = []
    broken: list[tuple[Path, Exception]] = []
    for file in files:
        try:
            pipeline = load_any(file).pipeline
            job = pipeline_job(pipeline, settings, executor, finish)
            schedule = pipeline_schedule(pipeline, job)
        except Exception as error:  # noqa: BLE001 - whatever one file does, the others stay usable
            broken.append((file, error))
            continue
        jobs[job.name] = job
        schedules += [schedule] if schedule else []
    for file, reason in broken:
        name = _free_name(file.stem, jobs)
        jobs[name] = broken_job(name, reason, executor)
    return dg.Definitions(jobs=list(jobs.values()), schedules=schedules, sensors=list(sensors), executor=executor)


def definitions_of(
    pipelines: Iterable[Pipeline], settings: Settings, *, executor: dg.ExecutorDefinition, finish: Finish
) -> dg.Definitions:
    """One job per pipeline, and its schedule if it has one. Raises PipelineError where Dagster refuses one."""
    jobs = [(pipeline, pipeline_job(pipeline, settings, executor, finish)) for pipeline in pipelines]
    schedules = [schedule for pipeline, job in jobs if (schedule := pipeline_schedule(pipeline, job))]
    return dg.Definitions(jobs=[job for _, job in jobs], schedules=schedules)


def _free_name(stem: str, taken: Iterable[str]) -> str:
    """`<stem>__broken` in letters that Dagster takes, numbered where another job has that name."""
    plain = "".join(char if char.isascii() and char.isalnum() else "_" for char in stem)
    name, number = f"{plain}__broken", 2
    while name in taken:
        name, number = f"{plain}__broken_{number}", number + 1
    return name
