"""Ceilings of a run that are not money."""

from pydantic import Field

from elexirion_dagster.spec.base import Spec

MAX_RECOVERIES = 3


class Limits(Spec):
    """Ceilings on what a run uses of the machine, and on how often it is recovered."""

    threads: int | None = Field(default=None, ge=1, le=1024)
    """Threads in all, nested fan-outs included; ELEXIRION_MAX_THREADS when absent."""
    max_recoveries: int = Field(default=MAX_RECOVERIES, ge=0, le=20)
    """Runs that may be started after failures of one root run, recoveries of recoveries included; 0: none."""
