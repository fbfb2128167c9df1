"""Scans from the command line: of the working tree, what changed since the last one, judged by what is new."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from elexirion_dagster.codebase import suppressions
from elexirion_dagster.codebase.files import list_files
from elexirion_dagster.codebase.history import changed_since, entries
from elexirion_dagster.codebase.identity import repository
from elexirion_dagster.codebase.selection import Batch
from elexirion_dagster.configuration import check_calls
from elexirion_dagster.dialects.load import load_any
from elexirion_dagster.errors import InputError
from elexirion_dagster.inputs import complete_inputs
from elexirion_dagster.operations.models import NO_MODEL, model_tags
from elexirion_dagster.operations.pipelines import scan_file
from elexirion_dagster.records import Json
from elexirion_dagster.reports.report import Report
from elexirion_dagster.scan.plan import Plan, plan, scope_digest
from elexirion_dagster.scan.target import lines, target_of
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.store.nights.scan_history import found_in, scanned_by, states
from elexirion_dagster.store.nights.scan_lock import refuse_if_busy
from elexirion_dagster.store.nights.scans import known_files, next_night
from elexirion_dagster.tags import TENANT_TAG

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
    """A scan that somebody wants: by which pipeline, and what there is to do.

    `base`: what goes before it, if any. `compared`: the files that differ from a revision, each with its blob there
    (None: it has none); None for a scan of everything.
    """

    file: Path
    pipeline: Pipeline
    plan: Plan
    base: Batch | None = None
    compared: Mapping[str, str | None] | None = None

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
    check_calls(settings)
    file = scan_file()
    pipeline = load_any(file).pipeline
    home = open_home(settings.home)
    place = repository(Path(path))
    suppressions.load(place.root, place.commit if place.bare else None)
    refuse_if_busy(home, scope_digest(pipeline.name, place.identity))
    inputs = {_REPO: str(place.root)}
    if diff is None:
        return Scan(file, pipeline, plan(pipeline, inputs, settings, source="tree", every=every, model=model))
    if not place.git:
        raise InputError(f"{path} is no git repository, so nothing differs from {diff}", mend="Leave --diff out.")
    base, paths = changed_since(place.root, diff)
    uncommitted = [] if place.bare else list_files(place.root, git="changed").files
    touched = [*paths, *(str(one["path"]) for one in uncommitted)]
    found = plan(pipeline, inputs, settings, source="tree", every=every, only=frozenset(touched), model=model)
    known = known_files(home, pipeline.name, place.identity)
    there = {entry.path: entry.blob for entry in entries(place.root, base) if entry.reason is None}
    compared = {path: there.get(path) for path in (*found.news.renamed, *touched)}
    before = tuple(sorted({path for path, blob in compared.items() if blob} - known.keys()))
    batch = Batch(commit=base, files=before, night=found.night) if before else None
    return Scan(file, pipeline, found, batch, compared)


def run(scan: Scan, *, run_id: str, model: str | None, stream: bool, settings: Settings) -> "Finished":
    """Scan what is due, in one run."""
    # Dagster takes 1.5 s to import (measured); a scan that finds nothing due need not wait for it.
    from elexirion_dagster.compiler.partitions import register  # noqa: PLC0415 1.5 s, see above
    from elexirion_dagster.operations.launch import execute  # noqa: PLC0415 1.5 s, see above

    if scan.base is not None:
        done = execute(
            scan.file,
            scan.inputs,
            run_id=str(uuid.uuid4()),
            tags=model_tags(NO_MODEL),
            settings=settings,
            batch=scan.base,
        )
        if done.status != "succeeded":
            return done
    tree, night = scan.plan.tree, scan.plan.night
    batch = next(scan.plan.batches(None), Batch(commit=tree.commit, branch=tree.branch, files=(), night=night))
    if len(scan.plan.due) == len(scan.plan.tree.files):
        batch = replace(batch, files=None)
    if scan.base is not None:
        home = open_home(settings.home)
        batch = replace(batch, night=next_night(home, scan.pipeline.name, scan.plan.tree.repository.identity))
    return execute(
        scan.file,
        scan.inputs,
        run_id=run_id,
        tags=model_tags(model, stream=stream),
        settings=settings,
        batch=batch,
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
    """Where the repository of a scan stands now; what is new is so since the scan before, or against a revision."""
    home, scope = open_home(settings.home), (scan.pipeline.name, scan.plan.tree.repository.identity)
    known_files(home, *scope)
    findings = states(home, *scope)
    if scan.compared is None:
        return Standing(findings)
    before = found_in(home, *scope, {path: blob for path, blob in scan.compared.items() if blob})
    return Standing([{**one, "state": _against(scan.compared, before, one)} for one in findings])


def _against(compared: Mapping[str, str | None], before: Mapping[str, set[str]], one: Mapping[str, Json]) -> str:
    """The state of a finding against a revision; as it is where nobody knows what was found in its file there."""
    state = str(one["state"])
    if state not in _LIVING:
        return state
    places = [path for path in one["paths"] if path in compared]
    if not places or any(before.get(path, set()).intersection(one["known_as"]) for path in places):
        return "open"
    known = all(compared[path] is None or path in before for path in places)
    return "new" if known and state == "open" else state


def keep_unchanged(scan: Scan, settings: Settings) -> None:
    """Write down that a scan found nothing due, once after one that did: what was new then is open from now on."""
    home, tree = open_home(settings.home), scan.plan.tree
    now = Standing(states(home, scan.pipeline.name, tree.repository.identity))
    if not any(one["state"] in ("new", "reopened") or one["fixed_tonight"] for one in now.findings):
        return
    batch = Batch(commit=tree.commit, branch=tree.branch, files=(), night=scan.plan.night)
    target = target_of(scan.pipeline, complete_inputs(scan.pipeline, scan.inputs), batch)
    run = f"scan-{scan.plan.scan}"
    with JournalWriter(home, root_run=run, run=run, tenant=scan.pipeline.tags.get(TENANT_TAG)) as journal:
        for fields in lines(target, scan.plan.standard, ()) if target else ():
            journal.append("scanned", durable=True, **fields)


def files_scanned(finished: "Finished", settings: Settings) -> int:
    """How many files a run scanned, as the journal has it."""
    return scanned_by(open_home(settings.home), finished.run)


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
