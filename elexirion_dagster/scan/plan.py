"""What a scan would do now: which files, why, in which batches, at most at which cost."""

import hashlib
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from elexirion_dagster.codebase.fetching import fetch
from elexirion_dagster.codebase.history import head, renames
from elexirion_dagster.codebase.identity import Repository, repository
from elexirion_dagster.codebase.selection import Batch, Selection, discover
from elexirion_dagster.errors import InputError
from elexirion_dagster.expressions import Engine
from elexirion_dagster.inputs import complete_inputs
from elexirion_dagster.records import Json
from elexirion_dagster.scan.due import Due, News, due, news
from elexirion_dagster.scan.standard import Standard, standard_now
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.children import NO_PIPELINES, Pipelines
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.triggers import Partitions
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.nights.scan_history import cost_per_file, last_commit
from elexirion_dagster.store.nights.scans import known_files, next_night

Source = Literal["tree", "head", "fetched"]
"""The working tree as it lies there, or the head of the branch out of git's objects; fetched already, or to be."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A repository as it is: `files` are all with a partition (path to blob), `left_out` all others with reasons.

    `commit` None is the working tree.
    """

    repository: Repository
    commit: str | None
    branch: str | None
    files: Mapping[str, str]
    left_out: Mapping[str, str]
    note: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """One scan of one repository.

    `waiting` counts files with an older review than today's model and prompt that the budget does not reach.
    `ceiling_usd` None: no ceiling. `first`: nothing is known of the repository yet.
    """

    pipeline: str
    tree: Tree
    standard: Standard
    due: Sequence[Due]
    waiting: int
    news: News
    ceiling_usd: float | None
    expected_usd: float | None
    first: bool
    night: int
    scan: str
    notes: Sequence[str]

    def __bool__(self) -> bool:
        """Whether there is anything to do or to write down."""
        return bool(self.due or self.news)

    def batches(self, files_per_run: int | None) -> Iterator[Batch]:
        """The batches of its runs, the first with the news; all files in one where `files_per_run` is None."""
        paths = [one.path for one in self.due]
        size = files_per_run or max(len(paths), 1)
        scan = self.scan if files_per_run else None
        shared = {"commit": self.tree.commit, "branch": self.tree.branch, "scan": scan, "night": self.night}
        for start in range(0, max(len(paths), 1 if self.news else 0), size):
            told = self.news if start == 0 else News({}, {}, ())
            yield Batch(
                files=tuple(paths[start : start + size]),
                before={one.path: one.before for one in self.due[start : start + size] if one.before},
                excluded=told.excluded,
                renamed=told.renamed,
                deleted=tuple(told.deleted),
                **shared,  # type: ignore[arg-type]
            )


def selection_of(partitions: Partitions) -> Selection:
    """Which files a pipeline has partitions for."""
    return Selection(partitions.include, partitions.exclude, partitions.languages, partitions.max_file_kb)


def root_of(pipeline: Pipeline, inputs: Mapping[str, Json]) -> Path:
    """The repository that these inputs name. Raises InputError."""
    return Path(Engine().render(_partitions(pipeline).repo, {"inputs": inputs}))


def plan(
    pipeline: Pipeline,
    given: Mapping[str, Json],
    settings: Settings,
    *,
    pipelines: Pipelines = NO_PIPELINES,
    source: Source,
    every: bool = False,
    only: frozenset[str] | None = None,
    model: str | None = None,
) -> Plan:
    """Find out what a scan with these inputs has to do.

    `every`: all files, due or not; `only`: none but these. Raises InputError, ElexirionError (connection: the fetch).
    """
    home, partitions = open_home(settings.home), _partitions(pipeline)
    seen = _look(pipeline, partitions, given, source)
    scope = (home, pipeline.name, seen.repository.identity)
    known = known_files(*scope)
    moved, notes = _moved(seen.repository, last_commit(*scope), seen.commit or seen.repository.commit)
    told = news(seen.files, seen.left_out, known, moved)
    now = standard_now(pipeline, pipelines, home, settings, model)
    asked = {path: blob for path, blob in seen.files.items() if only is None or path in only}
    must, stale = due(asked, known, told.renamed, now, every=every)
    per_file = cost_per_file(*scope) if now.model else 0.0
    reached = min(len(stale), max(0, _affordable(pipeline.budget.usd, per_file, partitions) - len(must)))
    return Plan(
        pipeline=pipeline.name,
        tree=seen,
        standard=now,
        due=(*must, *stale[:reached]),
        waiting=len(stale) - reached,
        news=told,
        ceiling_usd=pipeline.budget.usd if now.model else 0.0,
        expected_usd=None if per_file is None else per_file * (len(must) + reached),
        first=not known,
        night=next_night(*scope),
        scan=uuid.uuid4().hex[:16],
        notes=[*([seen.note] if seen.note else []), *notes],
    )


def _partitions(pipeline: Pipeline) -> Partitions:
    if pipeline.partitions is None:
        raise InputError(f"{pipeline.name} has no partitions", mend="Add partitions: {by: file}.")
    return pipeline.partitions


def _look(pipeline: Pipeline, partitions: Partitions, given: Mapping[str, Json], source: Source) -> Tree:
    place = repository(root_of(pipeline, complete_inputs(pipeline, given)))
    commit, branch = _commit(place, partitions, source)
    listed = discover(place.root, selection_of(partitions), commit)
    return Tree(
        place,
        commit,
        branch,
        files={file["path"]: file["blob"] for file in listed.files},
        left_out={entry["path"]: entry["reason"] for entry in listed.skipped},
        note=listed.note or without_tree(place, commit, branch),
    )


def without_tree(place: Repository, commit: str | None, branch: str | None) -> str | None:
    """What a reader should know of a scan where there is no working tree; None where there is one."""
    if not place.bare:
        return None
    of = f"of {branch} " if branch else ""
    at = (commit or "")[:12]
    return f"{place.root} is a bare repository: it has no working tree, so the head {of}({at}) is scanned"


def _commit(place: Repository, partitions: Partitions, source: Source) -> tuple[str | None, str | None]:
    """The commit to read, None for the working tree; and the branch."""
    if not place.git or (source == "tree" and not place.bare):
        return None, place.branch
    if partitions.fetch and source == "head":
        fetch(place.root, partitions.branch)
    return head(place.root, partitions.branch, fetched=partitions.fetch and source != "tree")


def _moved(place: Repository, last: str | None, now: str | None) -> tuple[dict[str, str], list[str]]:
    """Renames since the commit that was scanned last, and what a reader should know."""
    if last is None or now is None or last == now:
        return {}, []
    found = renames(place.root, last, now)
    if found is None:
        why = "the clone is shallow" if place.shallow else "its history was rewritten"
        gone = f"the commit scanned last, {last[:12]}, is not there any more ({why})"
        return {}, [f"{gone}: renames show by content only"]
    return found, []


def _affordable(budget: float | None, per_file: float | None, partitions: Partitions) -> int:
    """How many files tonight's budget can review; as many as one run takes where no review was paid for yet."""
    if budget is None or per_file == 0.0:
        return sys.maxsize
    return partitions.files_per_run if per_file is None else int(budget / per_file)


def scope_digest(pipeline: str, repo: str) -> str:
    """A short name for a pipeline's scans of a repository, for locks, tags and keys."""
    return hashlib.sha256(f"{pipeline}\n{repo}".encode()).hexdigest()[:16]
