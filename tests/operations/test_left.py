import os

import dagster as dg
import pytest
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from elexirion_dagster.execution.workers import WORKERS, claim, launching, working_on
from elexirion_dagster.operations.instance import init
from elexirion_dagster.operations.left import cancel_left
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.journal import lines

RUN = "0a0a0a0a-0000-4000-8000-00000000000{}"
STARTING, STARTED, QUEUED = dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.QUEUED
ORIGIN = RemoteJobOrigin(RemoteRepositoryOrigin(GrpcServerCodeLocationOrigin("localhost", 1), "code"), "job")
CANCELED = dg.DagsterRunStatus.CANCELED


@pytest.fixture
def settings(home_path):
    return Settings(home=home_path)


def dead(work):
    """Do something in a process that dies at once."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(1)
    os.waitpid(child, 0)


def test_what_up_has_ended_is_cancelled_and_what_is_not_its_own_stays(settings):
    home = init(settings).home
    folder = home.dagster / WORKERS
    states = {
        "a queued run": (QUEUED, QUEUED),
        "a warm worker that was killed": (STARTED, CANCELED),
        "a run that was about to start": (STARTING, CANCELED),
        "a run of a terminal that was killed": (STARTED, STARTED),
        "a run of a living terminal": (STARTED, STARTED),
        "a run that another process launches": (STARTING, STARTING),
        "a run of somebody else's program": (STARTED, STARTED),
    }
    runs = {name: RUN.format(number) for number, name in enumerate(states)}
    dead(lambda: claim(folder, runs["a warm worker that was killed"], "warm"))
    dead(lambda: claim(folder, runs["a run of a terminal that was killed"], "terminal"))
    with (
        dg.DagsterInstance.from_config(str(home.dagster)) as instance,
        working_on(folder, runs["a run of a living terminal"]),
        launching(folder, runs["a run that another process launches"]),
    ):
        for name, (before, _) in states.items():
            tags, origin = {"elexirion/pipeline": "job"}, ORIGIN if before is QUEUED else None
            instance.add_run(dg.DagsterRun("job", runs[name], status=before, tags=tags, remote_job_origin=origin))
        cancel_left(settings)
        after = {name: instance.get_run_by_id(run_id).status for name, run_id in runs.items()}
    assert after == {name: wanted for name, (_, wanted) in states.items()}
    for name, (_, wanted) in states.items():
        said = [line["status"] for line in lines(home, runs[name]) if line["kind"] == "run_finished"]
        assert said == (["cancelled"] if wanted is CANCELED else [])
    with dg.DagsterInstance.from_config(str(home.dagster)):
        cancel_left(settings)  # nothing is said twice
    assert len(list(lines(home, runs["a warm worker that was killed"]))) == 1
