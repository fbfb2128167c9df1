"""An optimisation, started as a process of its own: this program knows nothing of how prompts are improved."""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from elexirion_dagster.errors import CAUSES, Cause, ElexirionError
from elexirion_dagster.execution.told import told
from elexirion_dagster.records import Json


def optimising(address: str) -> Iterator[Mapping[str, Json]]:
    """What the optimisation of `PIPELINE/STEP` tells while it works, `event` by event; the last one is `ended`.

    Leaving the loop ends it; started again, it pays nothing twice. Raises ElexirionError with what it failed for.
    """
    command = [sys.executable, "-P", "-m", "optimizer_assets", "optimize", address]
    for said in told(command, environment=os.environ, cwd=Path.cwd()):
        if said.get("event") == "error":
            cause: Cause = next((cause for cause in CAUSES if cause == said.get("cause")), "unknown")
            raise ElexirionError(str(said["error"]), cause=cause, mend=said.get("mend"))
        yield said
