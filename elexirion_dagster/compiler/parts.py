"""When all parts of a split run's items are done, one more run puts them together."""

from collections.abc import Iterator, Mapping

import dagster as dg

from elexirion_dagster.compiler.ends import root_of
from elexirion_dagster.steps.part import Part, covered
from elexirion_dagster.tags import PART_TAG, RECOVERY_TAG, ROOT_RUN_TAG

Runs = Mapping[str, dg.DagsterRun]


def split_run(instance: dg.DagsterInstance, done: dg.DagsterRun) -> dg.DagsterRun | None:
    """The failed run that was split, if this one and others that ended well are all parts of its items."""
    if PART_TAG not in done.tags:
        return None
    root = root_of(done)
    tagged = instance.get_runs(dg.RunsFilter(tags={ROOT_RUN_TAG: root}))
    first = instance.get_run_by_id(root)
    runs = {run.run_id: run for run in (*tagged, *([first] if first else []))}
    origin = _origin(done, runs)
    return origin if origin is not None and covered(_parts(origin, runs)) else None


def _parts(origin: dg.DagsterRun, runs: Runs) -> Iterator[Part]:
    """The parts of it that are done."""
    for run in runs.values():
        if run.status is dg.DagsterRunStatus.SUCCESS and PART_TAG in run.tags and _origin(run, runs) == origin:
            yield Part.parse(run.tags[PART_TAG])


def _origin(run: dg.DagsterRun, runs: Runs) -> dg.DagsterRun | None:
    """The run whose items were split, halves of halves included; None where the tags lead nowhere."""
    here: dg.DagsterRun | None = run
    for _ in runs:  # as long as they can lead at most; tags that somebody wrote may lead round in circles
        if here is None or PART_TAG not in here.tags:
            return here
        here = runs.get(here.tags.get(RECOVERY_TAG, ""))
    return None
