"""Scans from the command line: of the working tree, what changed since the last one, judged by what is new."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from elexirion_dagster.codebase import suppressions
from elexirion_dagster.codebase.files import list_files
from elexirion_dagster.codebase.history import changed_since
from elexirion_dagster.codebase.identity import repository
from elexirion_dagster.codebase.selection import Batch
from elexirion_dagster.dialects.load import load_any
from elexirion_dagster.errors import InputError
from elexirion_dagster.operations.models import NO_MODEL, model_tags
from elexirion_dagster.operations.pipelines import scan_file
from elexirion_dagster.records import Json
from elexirion_dagster.reports.report import Report
from elexirion_dagster.scan.plan import Plan, plan, scope_digest
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.partitioning import BATCH
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.scan_history import states
from elexirion_dagster.store.scan_lock import refuse_if_busy
from elexirion_dagster.store.scans import known_files, next_night

if TYPE_CHECKING:
    from elexirion_dagster.operations.launch import Finished

Bar = Literal[
    "critical", "high", "medium", "low", "info", "new-critical", "new-high", "new-medium", "new-low", "new-info"
]
"""What fails a scan: a finding that is there, or one that is new, of at least this severity."""
_ORDER = ("critical", "high", "medium", "low", "info")
_LIVING = ("new", "reopened", "open")
_REPO = "repo"


@dataclass(frozen=True, slots=True)
class Scan:
    """A scan that somebody wants: by which pipeline, and what there is to do. `base`: what goes before it, if any."""

    file: Path
    pipeline: Pipeline
    plan: Plan
    base: Batch | None = None

    @property
    def inputs(self) -> Mapping[str, Json]:
        """The pipeline's inputs."""
        return {_REPO: str(self.plan.tree.repository.root)}


def prepare(
    path: str, settings: Settings, *, every: bool = False, diff: str | None = None, model: str | None = None
) -> Scan:
    """Find out what a scan of a folder has to do.

    Raises InputError, also where the same scan is under way, or the repository's suppressions cannot be read.

    `diff`: only what differs from that revision (`main`, or `main...` for where the two parted). What the home does
    not know yet of those files is scanned as it was there, so that only what came since is new.
    """
    file = scan_file()
    pipeline = load_any(file).pipeline
    home = open_home(settings.home)
    place = repository(Path(path))
    suppressions.load(place.root)
    refuse_if_busy(home, scope_digest(pipeline.name, place.identity))
    inputs = {_REPO: str(place.root)}
    if diff is None:
        return Scan(file, pipeline, plan(pipeline, inputs, settings, source="tree", every=every, model=model))
    if not place.git:
        raise InputError(f"{path} is no git repository, so nothing differs from {diff}", mend="Leave --diff out.")
    base, paths = changed_since(place.root, diff)
    touched = [*paths, *(str(one["path"]) for one in list_files(place.root, git="changed").files)]
    found = plan(pipeline, inputs, settings, source="tree", every=every, only=frozenset(touched), model=model)
    known = known_files(home, pipeline.name, place.identity)
    before = tuple(sorted({*found.news.renamed, *touched} - known.keys()))
    return Scan(file, pipeline, found, Batch(commit=base, files=before, night=found.night) if before else None)


def run(scan: Scan, *, run_id: str, model: str | None, stream: bool, settings: Settings) -> "Finished":
    """Scan what is due, in one run."""
    # Dagster takes 1.5 s to import (measured); a scan that finds nothing due need not wait for it.
    from elexirion_dagster.compiler.partitions import register  # noqa: PLC0415 1.5 s, see above
    from elexirion_dagster.operations.launch import execute  # noqa: PLC0415 1.5 s, see above

    if scan.base is not None:
        before = {**scan.inputs, BATCH: scan.base.to_json()}
        execute(scan.file, before, run_id=str(uuid.uuid4()), tags=model_tags(NO_MODEL), settings=settings)
    batch = next(scan.plan.batches(None), Batch(branch=scan.plan.tree.branch, night=scan.plan.night))
    if len(scan.plan.due) == len(scan.plan.tree.files):
        batch = replace(batch, files=None)
    if scan.base is not None:
        home = open_home(settings.home)
        batch = replace(batch, night=next_night(home, scan.pipeline.name, scan.plan.tree.repository.identity))
    return execute(
        scan.file,
        {**scan.inputs, BATCH: batch.to_json()},
        run_id=run_id,
        tags=model_tags(model, stream=stream),
        settings=settings,
        before=lambda instance: register(instance, scan.plan),
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a repository stands after its last scan: all findings of the pipeline that were ever there."""

    findings: Sequence[Mapping[str, Json]]

    @property
    def living(self) -> list[Mapping[str, Json]]:
        """Those that are there and not suppressed."""
        return [finding for finding in self.findings if finding["state"] in _LIVING]

    @property
    def counts(self) -> dict[str, int]:
        """How many are new, open (the reopened among them), suppressed, and fixed by the last scan."""
        states = [finding["state"] for finding in self.findings]
        return {
            "new": states.count("new"),
            "open": states.count("open") + states.count("reopened"),
            "suppressed": states.count("suppressed"),
            "fixed": sum(finding["state"] == "fixed" and bool(finding["fixed_tonight"]) for finding in self.findings),
        }

    def over(self, bar: Bar) -> list[Mapping[str, Json]]:
        """The findings that fail a scan with this bar; a reopened one counts as new."""
        word = bar.removeprefix("new-")
        worst = _ORDER[: _ORDER.index(word) + 1]
        states = ("new", "reopened") if bar != word else _LIVING
        return [one for one in self.findings if one["severity"] in worst and one["state"] in states]


def standing(scan: Scan, settings: Settings) -> Standing:
    """Where the repository of a scan stands now."""
    home = open_home(settings.home)
    known_files(home, scan.pipeline.name, scan.plan.tree.repository.identity)
    return Standing(states(home, scan.pipeline.name, scan.plan.tree.repository.identity))


def report_of(scan: Scan, now: Standing) -> Report:
    """The living findings as a report, for a scan that had nothing to do."""
    facts: dict[str, Json] = {"pipeline": scan.pipeline.name, "root": str(scan.plan.tree.repository.root), "calls": 0}
    return Report.from_outputs({"findings": now.living, "files": len(scan.plan.tree.files)}, facts)


def as_record(scan: Scan) -> dict[str, Json]:
    """The plan as a JSON object."""
    found = scan.plan
    return {
        "pipeline": found.pipeline,
        "repository": found.tree.repository.identity,
        "root": str(found.tree.repository.root),
        "commit": found.tree.commit,
        "branch": found.tree.branch,
        "files": len(found.tree.files),
        "due": [{"path": one.path, "reason": one.reason} for one in found.due],
        "waiting": found.waiting,
        "left_out": dict(found.tree.left_out),
        "renamed": dict(found.news.renamed),
        "deleted": list(found.news.deleted),
        "model": found.standard.model,
        "cost_ceiling_usd": found.ceiling_usd,
        "expected_usd": found.expected_usd,
        "notes": list(found.notes),
    }


def reasons(scan: Scan) -> Iterator[tuple[str, int]]:
    """How many files are due for each reason."""
    words = [one.reason for one in scan.plan.due]
    for word in dict.fromkeys(words):
        yield word, words.count(word)
