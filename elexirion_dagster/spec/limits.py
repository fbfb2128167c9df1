"""Ceilings of a run that are not money."""

from pydantic import Field

from elexirion_dagster.spec.base import Spec

MAX_RECOVERIES = 3
MAX_WAIT_S = 3600.0


class Limits(Spec):
    """Ceilings on what a run uses of the machine, and on how often it is recovered."""

    threads: int | None = Field(default=None, ge=1, le=1024)
    """Threads in all, nested fan-outs included; ELEXIRION_MAX_THREADS when absent."""
    max_recoveries: int = Field(default=MAX_RECOVERIES, ge=0, le=20)
    """Runs that may be started after failures of one root run, recoveries of recoveries included; 0: none.

    Not counted: a run that lost its worker before it journaled anything new, and one that was started after a wait for
    a provider.
    """
    # added to the language later: where it is the default, a pipeline has the hash that it had before there was any
    max_wait_s: float = Field(default=MAX_WAIT_S, ge=0, le=604_800, exclude_if=MAX_WAIT_S.__eq__)
    """Seconds, per root run and in all, that recoveries may wait for a provider that takes no calls; 0: they do not."""
