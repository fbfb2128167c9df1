"""Which files a pipeline has partitions for, and those of one run: from the working tree, or out of a commit."""

import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from elexirion_dagster.codebase.files import FileList, list_files, look_at
from elexirion_dagster.codebase.globs import matcher
from elexirion_dagster.codebase.history import Entry, contents, entries, generated, object_format
from elexirion_dagster.codebase.languages import language_of
from elexirion_dagster.codebase.writing import write_below
from elexirion_dagster.errors import ElexirionError

ABSENT = "not there any more"
"""Why a file that a run was to scan was not: it went away in between."""
_GONE = "not in the working tree"
_KB = 1024
_HEAD_BYTES = 8 * _KB
_FOLDER = "repository"


@dataclass(frozen=True, slots=True)
class Selection:
    """Patterns, languages and the size that make a file one of a pipeline's partitions; empty ones take all."""

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    languages: Sequence[str] = ()
    max_file_kb: int = 1024


@dataclass(frozen=True, slots=True)
class Batch:
    """What one run is to scan, as it stands in the run's config.

    `commit` None is the working tree, `files` None everything there. `before` has the blobs that the last scan saw of
    files that changed. `excluded` (with reasons), `renamed` (old to new) and `deleted` are news about other files that
    this run writes down. Batches of one `scan` share its budget, and the `night`, the number of the scan.
    """

    commit: str | None = None
    branch: str | None = None
    files: tuple[str, ...] | None = None
    excluded: Mapping[str, str] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    deleted: tuple[str, ...] = ()
    scan: str | None = None
    night: int | None = None
    before: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The batch as config, without what is empty."""
        given = {name: value for name, value in asdict(self).items() if value not in (None, {}, ()) or name == "files"}
        lists = {name: list(value) for name, value in given.items() if isinstance(value, tuple)}
        return {name: value for name, value in {**given, **lists}.items() if value is not None}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The batch that a config means: without a list of files all of them."""
        lists = {name: tuple(value[name]) for name in ("files", "deleted") if value.get(name) is not None}
        return cls(**{**{name: part for name, part in value.items() if part is not None}, **lists})


def discover(
    root: Path, selection: Selection, commit: str | None, *, cancelled: threading.Event | None = None
) -> FileList:
    """Every file that has a partition, and with their reason those of the repository that have none.

    Raises InputError where there is no such folder or git does not have the commit.
    """
    listed = _of_tree(root, selection, cancelled) if commit is None else _of_commit(root, selection, commit)
    languages = set(selection.languages)
    asked = [file for file in listed.files if not languages or file["language"] in languages]
    words: dict[str, str] = {}
    if asked and listed.source == "git":
        with tempfile.TemporaryDirectory() as scratch:
            words = generated(root, [file["path"] for file in asked], commit, Path(scratch))
    files = [file for file in asked if file["path"] not in words]
    skipped = [entry for entry in listed.skipped if entry["reason"] != _GONE]
    skipped += [{"path": file["path"], "reason": words[file["path"]]} for file in asked if file["path"] in words]
    return FileList(files, listed.source, listed.note, sorted(skipped, key=lambda entry: entry["path"]))


def _of_tree(root: Path, selection: Selection, cancelled: threading.Event | None) -> FileList:
    return list_files(
        root,
        git="tracked",
        include=selection.include,
        exclude=selection.exclude,
        max_file_kb=selection.max_file_kb,
        cancelled=cancelled,
    )


def _of_commit(root: Path, selection: Selection, commit: str) -> FileList:
    wanted = matcher(selection.include) if selection.include else lambda _path: True
    unwanted = matcher(selection.exclude)
    files, skipped = [], []
    for entry in entries(root, commit):
        if not wanted(entry.path) or unwanted(entry.path):
            continue
        if why := entry.reason or _too_large(entry.size, selection):
            skipped.append({"path": entry.path, "reason": why})
        else:
            files.append(_record(root, entry, b""))
    unnamed = {file["blob"]: file["size"] for file in files if selection.languages and _is_unnamed(file)}
    heads = {blob: data[:_HEAD_BYTES] for blob, data in contents(root, unnamed)}
    named = [{**file, "language": language_of(file["path"], heads.get(file["blob"], b""))} for file in files]
    return FileList(named, "git", None, skipped)


def _is_unnamed(file: Mapping[str, Any]) -> bool:
    return file["language"] == "other" and "." not in file["path"].rpartition("/")[2]


def _too_large(size: int, selection: Selection) -> str | None:
    return f"larger than {selection.max_file_kb} kB" if size > selection.max_file_kb * _KB else None


def _record(root: Path, entry: Entry, head: bytes) -> dict[str, Any]:
    language = language_of(entry.path, head)
    return {"root": str(root), "path": entry.path, "blob": entry.blob, "size": entry.size, "language": language}


def taken_to(workspace: Path) -> Path:
    """Where `take` puts the files of a commit."""
    return workspace / _FOLDER


def take(
    root: Path, selection: Selection, batch: Batch, workspace: Path, cancelled: threading.Event | None = None
) -> FileList:
    """The files of one run. Those of a commit are put into a folder of the workspace, as git keeps them."""
    if batch.files is None:
        listed = discover(root, selection, batch.commit, cancelled=cancelled)
        if batch.commit is None:
            return listed
        paths: Iterable[str] = [file["path"] for file in listed.files]
        taken = _taken_out(root, selection, batch.commit, paths, taken_to(workspace))
        return FileList(taken.files, "git", listed.note, listed.skipped + taken.skipped)
    if batch.commit is not None:
        return _taken_out(root, selection, batch.commit, batch.files, taken_to(workspace))
    algorithm = object_format(root)
    files, skipped = look_at(
        root,
        batch.files,
        algorithm=algorithm or "sha1",
        max_file_kb=selection.max_file_kb,
        cancelled=cancelled,
    )
    absent = [{**entry, "reason": ABSENT} if entry["reason"] == _GONE else entry for entry in skipped]
    return FileList(files, "git" if algorithm else "walk", None, absent)


def _taken_out(root: Path, selection: Selection, commit: str, paths: Iterable[str], folder: Path) -> FileList:
    """Put these files of a commit into the folder."""
    known = {entry.path: entry for entry in entries(root, commit)}
    skipped = [{"path": path, "reason": ABSENT} for path in paths if path not in known]
    picked = [known[path] for path in sorted(set(paths)) if path in known]
    unfit = [(entry.path, entry.reason or _too_large(entry.size, selection)) for entry in picked]
    skipped += [{"path": path, "reason": why} for path, why in unfit if why]
    left_out = {entry["path"] for entry in skipped}
    picked = [entry for entry in picked if entry.path not in left_out]
    by_blob: dict[str, list[Entry]] = {}
    for entry in picked:
        by_blob.setdefault(entry.blob, []).append(entry)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = []
    for blob, data in contents(root, {blob: same[0].size for blob, same in by_blob.items()}):
        for entry in by_blob[blob]:
            if why := _put(folder, entry.path, data):
                skipped.append({"path": entry.path, "reason": why})
            else:
                files.append(_record(folder, entry, data[:_HEAD_BYTES]))
    return FileList(sorted(files, key=lambda file: file["path"]), "git", None, skipped)


def _put(folder: Path, path: str, data: bytes) -> str | None:
    """Write one file; or say why it is left out."""
    if b"\0" in data[:_HEAD_BYTES]:
        return "binary"
    try:
        write_below(folder, path, [data])
    except (ElexirionError, OSError) as error:
        return f"it cannot be written: {error.strerror if isinstance(error, OSError) else error.message}"
    return None
