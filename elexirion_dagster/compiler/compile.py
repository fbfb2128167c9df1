"""A folder of YAML files to Dagster definitions."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import dagster as dg

from elexirion_dagster.compiler.jobs import broken_job, pipeline_job
from elexirion_dagster.compiler.ops import Finish
from elexirion_dagster.compiler.schedules import pipeline_schedule
from elexirion_dagster.dialects.load import load_any
from elexirion_dagster.errors import PipelineError
from elexirion_dagster.settings import Settings


def compile_files(
    files: Iterable[Path],
    settings: Settings,
    *,
    executor: dg.ExecutorDefinition,
    finish: Finish,
    sensors: Sequence[dg.SensorDefinition] = (),
) -> dg.Definitions:
    """One job per file, a schedule where the file has one; a broken file becomes the job `<stem>__broken`."""
    jobs: list[dg.JobDefinition] = []
    schedules: list[dg.ScheduleDefinition] = []
    for file in files:
        try:
            pipeline = load_any(file).pipeline
            job = pipeline_job(pipeline, settings, executor, finish)
            schedule = pipeline_schedule(pipeline, job)
        except PipelineError as error:
            jobs.append(broken_job(file.stem, error, executor))
            continue
        jobs.append(job)
        schedules += [schedule] if schedule else []
    return dg.Definitions(jobs=jobs, schedules=schedules, sensors=list(sensors), executor=executor)
