"""A folder of YAML files to Dagster definitions."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import dagster as dg

from elexirion_dagster.compiler.jobs import broken_job, pipeline_job
from elexirion_dagster.compiler.ops import Finish
from elexirion_dagster.compiler.schedules import pipeline_schedule
from elexirion_dagster.dialects.library import NO_FILES
from elexirion_dagster.dialects.load import Loaded, load_any
from elexirion_dagster.settings import Settings


def compile_files(
    files: Iterable[Path],
    settings: Settings,
    *,
    known: Mapping[str, Path] = NO_FILES,
    executor: dg.ExecutorDefinition,
    finish: Finish,
    sensors: Sequence[dg.SensorDefinition] = (),
) -> dg.Definitions:
    """One job per file, a schedule where the file has one; a broken file becomes the job `<stem>__broken`.

    `known` are the files of the pipelines that others may run, by name.
    """
    jobs: dict[str, dg.JobDefinition] = {}
    schedules: list[dg.ScheduleDefinition] = []
    broken: list[tuple[Path, Exception]] = []
    for file in files:
        try:
            loaded = load_any(file, known)
            job = pipeline_job(loaded.pipeline, settings, executor, finish, loaded.pipelines)
            schedule = pipeline_schedule(loaded.pipeline, job)
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
    loaded: Iterable[Loaded], settings: Settings, *, executor: dg.ExecutorDefinition, finish: Finish
) -> dg.Definitions:
    """One job per pipeline, and its schedule if it has one. Raises PipelineError where Dagster refuses one."""
    jobs = [(one.pipeline, pipeline_job(one.pipeline, settings, executor, finish, one.pipelines)) for one in loaded]
    schedules = [schedule for pipeline, job in jobs if (schedule := pipeline_schedule(pipeline, job))]
    return dg.Definitions(jobs=[job for _, job in jobs], schedules=schedules)


def _free_name(stem: str, taken: Iterable[str]) -> str:
    """`<stem>__broken` in letters that Dagster takes, numbered where another job has that name."""
    plain = "".join(char if char.isascii() and char.isalnum() else "_" for char in stem)
    name, number = f"{plain}__broken", 2
    while name in taken:
        name, number = f"{plain}__broken_{number}", number + 1
    return name
