"""What a run with partitions works on, and what came of its files."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from elexirion_dagster.codebase.history import head
from elexirion_dagster.codebase.identity import Repository, repository
from elexirion_dagster.codebase.selection import ABSENT, Batch, Selection
from elexirion_dagster.records import Json, StepResult
from elexirion_dagster.scan.plan import root_of, scope_digest, selection_of
from elexirion_dagster.scan.standard import Standard
from elexirion_dagster.spec.partitioning import is_due
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.steps import ForEachStep, Step, asks_model

FileStatus = Literal["scanned", "failed", "excluded"]


@dataclass(frozen=True, slots=True)
class Target:
    """The repository of a run, which of its files the pipeline wants, and which of those this run scans."""

    pipeline: str
    repository: Repository
    selection: Selection
    batch: Batch

    @property
    def scope(self) -> str:
        """A short name for this pipeline's scans of this repository."""
        return scope_digest(self.pipeline, self.repository.identity)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one file. `reviewed`: whether every model that should look at it did."""

    path: str
    blob: str | None
    status: FileStatus
    reason: str | None = None
    reviewed: bool = True


def target_of(pipeline: Pipeline, inputs: Mapping[str, Json], batch: Batch | None) -> Target | None:
    """The target of a run with these (complete) inputs; None for a pipeline without partitions. Raises InputError."""
    if pipeline.partitions is None:
        return None
    place = repository(root_of(pipeline, inputs))
    return Target(pipeline.name, place, selection_of(pipeline.partitions), batch or Batch(branch=place.branch))


def batch_of(pipeline: Pipeline, inputs: Mapping[str, Json], given: Batch | None) -> Batch | None:
    """The batch given; without one, where there is no working tree to scan, the whole head. Raises InputError."""
    if given is not None or pipeline.partitions is None:
        return given
    place = repository(root_of(pipeline, inputs))
    if not place.bare:
        return None
    commit, branch = head(place.root, pipeline.partitions.branch)
    return Batch(commit=commit, branch=branch)


def tells_of_files(step: Step) -> bool:
    """Whether `outcomes` looks at the result of a top-level step."""
    return is_due(step) or isinstance(step, ForEachStep)


def outcomes(pipeline: Pipeline, target: Target, results: Mapping[str, StepResult]) -> list[Outcome]:
    """What came of each file of the run, in path order, judged by the results of its top-level steps.

    A file has failed when its item in a loop has; not where the pipeline goes on without that loop, or money ran out:
    then it is scanned, and only its review is still to come.
    """
    listed = next(results[step.name] for step in pipeline.steps if is_due(step))
    data: Mapping[str, Json] = listed.data or {"files": [], "skipped": []}
    failed: dict[str, str] = {}
    unreviewed: dict[str, str] = {}
    for step, entry in _failed_items(pipeline, results):
        cause, message = _error(entry)
        why = f"{step.name} failed ({cause}): {message}"
        if not step.continue_on_error and cause != "budget_exceeded":
            failed[_path(entry)] = why
        elif asks_model(step):
            unreviewed[_path(entry)] = why
    found: dict[str, Outcome] = {
        path: Outcome(path, None, "excluded", why) for path, why in target.batch.excluded.items()
    }
    for entry in data["skipped"]:
        status: FileStatus = "failed" if entry["reason"] == ABSENT else "excluded"
        found[entry["path"]] = Outcome(entry["path"], entry.get("blob"), status, entry["reason"])
    for file in data["files"]:
        path = file["path"]
        if path in failed:
            found[path] = Outcome(path, file["blob"], "failed", failed[path])
        else:
            found[path] = Outcome(path, file["blob"], "scanned", unreviewed.get(path), path not in unreviewed)
    return [found[path] for path in sorted(found)]


def _failed_items(
    pipeline: Pipeline, results: Mapping[str, StepResult]
) -> Iterator[tuple[ForEachStep, Mapping[str, Json]]]:
    for step in pipeline.steps:
        if isinstance(step, ForEachStep) and step.name in results:
            for entry in results[step.name].results or ():
                if entry["status"] == "failed":
                    yield step, entry


def _path(entry: Mapping[str, Json]) -> str:
    """The file that an item of a loop stands for."""
    item = entry["item"]
    return str(item["path"]) if isinstance(item, Mapping) and "path" in item else str(entry["key"])


def _error(entry: Mapping[str, Json]) -> tuple[str, str]:
    errors = (part.get("error") for part in entry.values() if isinstance(part, Mapping) and "status" in part)
    error = next((error for error in errors if error), {"cause": "unknown", "message": "an item failed"})
    return str(error["cause"]), str(error["message"])


def lines(target: Target, standard: Standard, found: Sequence[Outcome]) -> Iterator[dict[str, Json]]:
    """The fields of the journal's `scanned` lines, one for each version of the prompts that files were reviewed with.

    Files whose review is still to come stand in one without a model.
    """
    batch = target.batch
    head = {
        "path": "outputs",
        "pipeline": target.pipeline,
        "repo": target.repository.identity,
        "root": str(target.repository.root),
        "commit": batch.commit,
        "branch": batch.branch,
        "night": batch.night,
        "ruleset": standard.ruleset,
    }
    pending = [one for one in found if not one.reviewed]
    by_version: dict[str | None, list[Outcome]] = {standard.prompt_version: []}
    for one in found:
        if one.reviewed:
            by_version.setdefault(standard.version_of(one.path), []).append(one)
    moved: dict[str, Json] = {"renamed": dict(batch.renamed), "deleted": list(batch.deleted)}
    for version, some in by_version.items():
        yield {**head, "model": standard.model, "prompt_version": version, "files": [*map(_file, some)], **moved}
        moved = {"renamed": {}, "deleted": []}
    if pending:
        yield {**head, "model": None, "prompt_version": None, "files": [*map(_file, pending)], **moved}


def _file(one: Outcome) -> dict[str, Json]:
    return {"path": one.path, "blob": one.blob, "status": one.status, "reason": one.reason}


def tally(found: Sequence[Outcome]) -> dict[str, int]:
    """How many files came to what."""
    counts = Counter(one.status for one in found)
    return {"files_scanned": counts["scanned"], "files_failed": counts["failed"], "files_excluded": counts["excluded"]}
