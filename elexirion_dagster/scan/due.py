"""Which files are due, and why: a file is scanned again when it, the rules, the model or the prompt changed."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from elexirion_dagster.scan.standard import Standard
from elexirion_dagster.store.nights.scans import KnownFile

Reason = Literal["new", "changed", "rules", "failed", "stale", "asked"]
"""Never scanned; content or rules changed; its last scan failed; model or prompt changed; somebody asked for it."""


@dataclass(frozen=True, slots=True)
class Due:
    """A file to scan, and why; `before` is the blob that its last scan saw, where it was another."""

    path: str
    reason: Reason
    before: str | None = None


@dataclass(frozen=True, slots=True)
class News:
    """What became of files that are not there (any more): excluded with reasons, renamed old to new, deleted."""

    excluded: Mapping[str, str]
    renamed: Mapping[str, str]
    deleted: Sequence[str]

    def __bool__(self) -> bool:
        return bool(self.excluded or self.renamed or self.deleted)


def due(
    blobs: Mapping[str, str], known: Mapping[str, KnownFile], renamed: Mapping[str, str], now: Standard, *, every: bool
) -> tuple[list[Due], list[Due]]:
    """The files that must be scanned in path order, and those to review again only as far as the budget goes.

    `blobs` are the files there are, `renamed` maps old to new paths. The second list begins with what was reviewed
    longest ago.
    """
    was = {new: old for old, new in renamed.items()}
    must: list[Due] = []
    stale: list[tuple[str, Due]] = []
    versions = now.versions()
    for path in sorted(blobs):
        before = known.get(path) or known.get(was.get(path, ""))
        reason: Reason | None = "asked" if every else _reason(blobs[path], before, now, versions)
        if before is not None and reason == "stale":
            stale.append((str(before.scanned_at), Due(path, "stale")))
        elif reason is not None:
            seen = before.blob if before is not None and before.blob != blobs[path] else None
            must.append(Due(path, reason, seen))
    return must, [one for _, one in sorted(stale, key=lambda pair: (pair[0], pair[1].path))]


def _reason(blob: str, before: KnownFile | None, now: Standard, versions: Container[str | None]) -> Reason | None:
    if before is None:
        return "new"
    if before.status == "failed":
        return "failed"
    if before.blob != blob:
        return "changed"
    if before.ruleset != now.ruleset:
        return "rules"
    if before.status == "excluded" or now.model is None:
        return None
    return None if before.model == now.model and before.prompt_version in versions else "stale"


def news(
    blobs: Mapping[str, str], skipped: Mapping[str, str], known: Mapping[str, KnownFile], moved: Mapping[str, str]
) -> News:
    """What is to be written down besides what is scanned. `moved` are renames that git's history shows."""
    gone = [path for path in known if path not in blobs and path not in skipped]
    fresh = [path for path in sorted(blobs) if path not in known]
    renamed = {old: new for old, new in moved.items() if old in gone and new in blobs and new not in known}
    by_blob: dict[str, list[str]] = {}
    for path in fresh:
        if path not in renamed.values():
            by_blob.setdefault(blobs[path], []).append(path)
    for path in sorted(gone):
        if path not in renamed and (same := by_blob.get(known[path].blob)):
            renamed[path] = same.pop(0)
    excluded = {path: why for path, why in skipped.items() if path not in known or known[path].status != "excluded"}
    return News(excluded, renamed, sorted(path for path in gone if path not in renamed))
