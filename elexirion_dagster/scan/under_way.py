"""The scan that one run is: its files, its place among other scans, what it writes down."""

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from elexirion_dagster.codebase import suppressions
from elexirion_dagster.codebase.identity import partition_key
from elexirion_dagster.codebase.selection import take, taken_to
from elexirion_dagster.records import Json, StepResult
from elexirion_dagster.redact import Redactor
from elexirion_dagster.scan.plan import without_tree
from elexirion_dagster.scan.standard import Models, Slots, standard
from elexirion_dagster.scan.target import Outcome, Target, lines, outcomes
from elexirion_dagster.spec.children import Pipelines
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.nights.scan_lock import scanning

_WAIT_S = 900.0
"""How long a batch waits for a whole scan of the same repository to end."""


@dataclass(frozen=True, slots=True)
class ScanUnderWay:
    """What a run with partitions does beside its steps."""

    pipeline: Pipeline
    pipelines: Pipelines
    target: Target
    workspace: Path
    cancelled: threading.Event

    @property
    def alone(self) -> bool:
        """Whether this run is a whole scan, not one batch of several."""
        return self.target.batch.scan is None

    def held(self, home: Home, run: str) -> AbstractContextManager[None]:
        """Let no whole scan of this repository begin beside this one; nor, where it is one itself, any other."""
        wait_s = 0.0 if self.alone else _WAIT_S
        return scanning(home, self.target.scope, run=run, alone=self.alone, wait_s=wait_s, cancelled=self.cancelled)

    def files(self) -> dict[str, Json]:
        """The data of the step that lists the files; what comes out of a commit lies in the workspace then."""
        place, batch = self.target.repository, self.target.batch
        listed = take(place.root, self.target.selection, batch, self.workspace, self.cancelled)
        return {
            "root": str(place.root),
            "repo": place.identity,
            "commit": batch.commit,
            "branch": batch.branch,
            "files": [{**file, "before": batch.before.get(file["path"])} for file in listed.files],
            "source": listed.source,
            "note": listed.note or without_tree(place, batch.commit, batch.branch),
            "skipped": listed.skipped,
        }

    def outcomes(self, results: Mapping[str, StepResult], clean: Callable[[str], str]) -> list[Outcome]:
        """What came of each file, secrets taken out of the reasons."""
        found = outcomes(self.pipeline, self.target, results)
        return [replace(one, reason=clean(one.reason)) if one.reason else one for one in found]

    def lines(self, found: Sequence[Outcome], models: Models, slots: Slots) -> Iterator[dict[str, Json]]:
        """The fields of the `scanned` lines, measured by what this run pinned."""
        return lines(self.target, standard(self.pipeline, self.pipelines, models, slots), found)

    def suppressions(self, redactor: Redactor) -> dict[str, Json]:
        """The fields of the `suppressions` line: what the repository's file says, of the commit that is scanned."""
        place, commit = self.target.repository, self.target.batch.commit
        found = suppressions.entries(suppressions.load(place.root, commit), redactor)
        return {"pipeline": self.pipeline.name, "repo": place.identity, "commit": commit, "entries": found}

    def key(self, path: str) -> str:
        """The partition of a file."""
        return partition_key(self.target.repository.identity, path)

    def tidy(self, *, done: bool) -> None:
        """Remove the copies of the commit's files, unless a recovery may need them."""
        if done:
            shutil.rmtree(taken_to(self.workspace), ignore_errors=True)
