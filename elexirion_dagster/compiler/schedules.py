"""A pipeline's schedule; stopped until a user starts it."""

import dagster as dg

from elexirion_dagster.spec.pipeline import Pipeline


def pipeline_schedule(pipeline: Pipeline, job: dg.JobDefinition) -> dg.ScheduleDefinition | None:
    """The schedule with the inputs' defaults, or None for a pipeline without one or with required inputs."""
    if pipeline.schedule is None or any(declared.required for declared in pipeline.inputs.values()):
        return None
    return dg.ScheduleDefinition(
        name=f"{pipeline.name}_schedule",
        job=job,
        cron_schedule=pipeline.schedule.cron,
        execution_timezone=pipeline.schedule.timezone,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        run_config={},
    )
