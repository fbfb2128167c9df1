"""What `elexirion up` leaves when it has ended: no run without a process that still counts as running."""

import dagster as dg

from elexirion_dagster.compiler.ends import record_end
from elexirion_dagster.execution.launcher import WarmRunLauncher
from elexirion_dagster.operations.opened import open_instance
from elexirion_dagster.settings import Settings
from elexirion_dagster.tags import PIPELINE_TAG

_STARTED = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def cancel_left(settings: Settings) -> None:
    """Cancel the runs whose processes `elexirion up` has ended; runs in the queue stay there.

    Runs of another launcher than ours are on other machines, and go on.
    """
    with open_instance(settings) as (_, instance):
        launcher = instance.run_launcher
        if not isinstance(launcher, WarmRunLauncher):
            return
        for run in instance.get_runs(dg.RunsFilter(statuses=_STARTED)):
            if launcher.left_behind(run):
                instance.report_run_canceled(run, "`elexirion up` was stopped, which ended the run")
                ended = instance.get_run_by_id(run.run_id)
                if ended is not None and PIPELINE_TAG in run.tags:
                    record_end(instance, ended, settings)
