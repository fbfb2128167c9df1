"""What `elexirion up` leaves when it has ended: no run without a process that still counts as running."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from elexirion_dagster.compiler.ends import record_end
from elexirion_dagster.execution.launcher import WarmRunLauncher
from elexirion_dagster.operations.opened import open_instance
from elexirion_dagster.settings import Settings
from elexirion_dagster.tags import PIPELINE_TAG

_STARTED = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_ENDED = [dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS]
_LATELY = timedelta(seconds=60)
"""Longer than programs and workers may take to end."""


def cancel_left(settings: Settings) -> None:
    """Cancel the runs whose processes `elexirion up` has ended, and journal their ends; runs in the queue stay there.

    Runs of another launcher than ours are on other machines, and go on.
    """
    with open_instance(settings) as (_, instance):
        launcher = instance.run_launcher
        if not isinstance(launcher, WarmRunLauncher):
            return
        for run in instance.get_runs(dg.RunsFilter(statuses=_STARTED)):
            if launcher.left_behind(run):
                instance.report_run_canceled(run, "`elexirion up` was stopped, which ended the run")
        # those that were told to stop before they had opened their journal, too
        lately = dg.RunsFilter(statuses=_ENDED, updated_after=datetime.now(UTC) - _LATELY)
        for run in instance.get_runs(lately):
            if PIPELINE_TAG in run.tags:
                record_end(instance, run, settings)
