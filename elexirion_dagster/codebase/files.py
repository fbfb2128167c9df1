"""The files of a code base: listed with their hashes, every one left out named with its reason, and read."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from elexirion_dagster.codebase.confine import confine, open_below
from elexirion_dagster.codebase.git import GitListing, is_bare, listing
from elexirion_dagster.codebase.globs import matcher
from elexirion_dagster.codebase.languages import language_of
from elexirion_dagster.codebase.look import Look, looker, printable
from elexirion_dagster.errors import Cancelled, InputError, PolicyError

__all__ = ["FileList", "confine", "decode", "list_files", "read_text"]

Git = Literal["tracked", "changed"]

FOREIGN_FOLDERS = frozenset(
    {
        *(".git", ".hg", ".svn"),
        *("node_modules", ".venv", "venv", ".eggs", ".terraform"),
        *("__pycache__", ".tox", ".nox", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".idea"),
    }
)
"""Folders a plain walk leaves out: they hold tools, caches and other people's code."""

_KB = 1024


@dataclass(frozen=True, slots=True)
class FileList:
    """Files in path order, each `{"root", "path", "blob", "size", "language"}`.

    `blob` is the hash git gives the working-tree content. `source` says who listed them, `note` what a reader of
    the list should know, `skipped` names each file left out: `{"path", "reason"}`.
    """

    files: list[dict[str, Any]]
    source: Literal["git", "walk"]
    note: str | None
    skipped: list[dict[str, str]]


def list_files(
    root: Path,
    *,
    git: Git | None = "tracked",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    max_file_kb: int = 1024,
    cancelled: threading.Event | None = None,
) -> FileList:
    """List the files below `root` that git tracks, that differ from HEAD (new ones too), or all (`git=None`).

    Without a repository everything below is listed, and the note says so. `include` and `exclude` are git-style
    patterns over paths relative to `root`. Raises InputError where `root` is no folder.
    """
    real = _folder(root)
    if is_bare(real):
        message = f"{root} is a bare git repository, which has no working tree with files to list"
        raise InputError(message, mend="Clone it, or use a pipeline with `partitions`, which reads its branch's head.")
    wanted, unwanted = matcher(include), matcher(exclude)
    known = listing(real, untracked=git == "changed", cancelled=cancelled) if git else None
    found = _chosen(known, git) if isinstance(known, GitListing) else list(_walk(real, cancelled))
    found = [(path, why) for path, why in found if (not include or wanted(path)) and not unwanted(path)]
    committed = known.committed if isinstance(known, GitListing) and git == "changed" else None
    algorithm = known.algorithm if isinstance(known, GitListing) else "sha1"
    look = looker(real, max_file_kb * _KB, algorithm, read_all=committed is not None)
    files, skipped = _sort_out(real, found, look, committed, cancelled)
    source: Literal["git", "walk"] = "git" if isinstance(known, GitListing) else "walk"
    return FileList(files, source, _note(real, git, known, files), skipped)


def look_at(
    root: Path, paths: Sequence[str], *, algorithm: str, max_file_kb: int, cancelled: threading.Event | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The records of these files as they lie below `root` now, and those left out with their reasons."""
    real = _folder(root)
    look = looker(real, max_file_kb * _KB, algorithm, read_all=False)
    return _sort_out(real, [(path, None) for path in paths], look, None, cancelled)


def read_text(record: Mapping[str, Any], *, granted: Sequence[Path], max_kb: int = 1024) -> str:
    """Read a listed file, whose root must lie in one of `granted`.

    Bytes that are not UTF-8 become U+FFFD, and a last line says how many. Raises PolicyError (tool_denied) for a
    place outside, InputError for a file that is gone, too large, or no regular file.
    """
    root, path = Path(record["root"]), str(record["path"])
    real = root.resolve()
    if not any(real.is_relative_to(place.resolve()) for place in granted):
        raise PolicyError(
            f"{root} is not among the folders this run may read",
            cause="tool_denied",
            mend="Pass that folder as an input of type path.",
        )
    with open(open_below(real, path), "rb") as file:  # noqa: PTH123 a descriptor, not a path
        data = file.read(max_kb * _KB + 1)
    if len(data) > max_kb * _KB:
        raise InputError(f"{path} is larger than {max_kb} kB", mend="Raise max_file_kb, or exclude the file.")
    return decode(data.removeprefix(b"\xef\xbb\xbf"))


def decode(data: bytes) -> str:
    """Text of bytes; those that are not UTF-8 become U+FFFD, and a last line says how many."""
    text = data.decode("utf-8", "replace")
    replaced = text.count("\ufffd") - data.count("\ufffd".encode())
    return f"{text}\n[not UTF-8: {replaced} places were replaced by U+FFFD]\n" if replaced > 0 else text


def _folder(root: Path) -> Path:
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise InputError(f"{root} {what}", mend="Give the folder of the code to look at.")
    try:
        os.scandir(root).close()
    except PermissionError as error:
        message = f"{root} cannot be read: permission denied"
        raise InputError(message, mend="Make it readable for you.") from error
    return root.resolve()


def _chosen(known: GitListing, git: Git | None) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = [(path, None) for path in known.paths]
    unchanged = git == "changed"
    return found + [(path, why) for path, why in known.skipped.items() if not (unchanged and path in known.committed)]


def _note(root: Path, git: Git | None, known: GitListing | str | None, files: list[dict[str, Any]]) -> str | None:
    match known:
        case str() as reason:
            left_out = "folders of tools and caches were left out"
            return f"{reason}: every file below {root} was listed ({left_out})"
        case GitListing() if not files and git == "changed":
            return f"nothing below {root} differs from the last commit"
        case GitListing() if not files:
            return f"git tracks no readable file below {root} that was asked for"
        case _:
            return None if files else f"no readable file below {root} that was asked for"


def _walk(root: Path, cancelled: threading.Event | None) -> Iterator[tuple[str, str | None]]:
    """Every path below `root`, with the reason where it is not looked into; links are never followed."""
    folders = [""]
    while folders:
        prefix = folders.pop()
        if cancelled and cancelled.is_set():
            raise Cancelled
        try:
            with os.scandir(root / prefix) as entries:
                inside = list(entries)
        except OSError as error:
            yield prefix or ".", f"unreadable folder: {error.strerror}"
            continue
        for entry in inside:
            path = f"{prefix}/{entry.name}" if prefix else entry.name
            if not entry.is_dir(follow_symlinks=False):
                yield path, None
            elif entry.name in FOREIGN_FOLDERS:
                yield path, "folder of tools or caches"
            else:
                folders.append(path)


def _sort_out(
    root: Path,
    found: Iterable[tuple[str, str | None]],
    look: Callable[[str], Look],
    committed: Mapping[str, str] | None,
    cancelled: threading.Event | None,
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Part the readable files (as records) from the others (with reasons), both in path order."""
    files, skipped = [], []
    for path, why in sorted(found):
        if cancelled and cancelled.is_set():
            raise Cancelled
        seen = Look((), 0, b"", why) if why else look(path)
        if committed is not None and committed.get(path) in seen.blobs:
            continue
        if seen.reason:
            skipped.append({"path": printable(path), "reason": seen.reason})
            continue
        language = language_of(path, seen.head)
        files.append({"root": str(root), "path": path, "blob": seen.blobs[0], "size": seen.size, "language": language})
    return files, skipped
