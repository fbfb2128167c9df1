"""What changed in files since a commit or since they were last seen, out of git's objects.

Git compares two trees made of the blobs before and of the files now; they are written into a folder of our own beside
the repository's objects, which stay as they are. Nothing that the repository configures takes part.
"""

import re
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elexirion_dagster.codebase.confine import open_below
from elexirion_dagster.codebase.executables import find
from elexirion_dagster.codebase.git import ask
from elexirion_dagster.errors import ElexirionError, InputError

_FILE = re.compile(r"(?m)^diff --git a/(\d+) b/\1\n")
_HASH = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_DIFF = ("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames", "--text", "--unified=3")


@dataclass(frozen=True, slots=True)
class Diff:
    """The hunks between a file's blob `before` and its content now, and how many lines they add and remove."""

    path: str
    before: str
    text: str
    added: int
    removed: int


@dataclass(frozen=True, slots=True)
class _Git:
    """Git in a repository, what it writes going to `scratch`."""

    program: str
    root: Path
    scratch: Path
    objects: str
    cancelled: threading.Event | None

    def __call__(self, *words: str, stdin: str | None = None) -> str:
        environment = {"GIT_OBJECT_DIRECTORY": str(self.scratch), "GIT_ALTERNATE_OBJECT_DIRECTORIES": self.objects}
        done = ask(self.program, self.root, *words, env=environment, stdin=stdin, cancelled=self.cancelled)
        if done.exit_code != 0 or done.truncated:
            why = "it says too much" if done.truncated else done.stderr.strip()[:300]
            raise ElexirionError(f"git {words[0]} failed in {self.root}: {why}", cause="command_failed")
        return done.stdout


def diffs(
    root: Path, files: Sequence[Mapping[str, Any]], *, since: str | None, cancelled: threading.Event | None = None
) -> list[Diff]:
    """What changed in those `files` (records of a list) that were there before and are not the same now.

    Before is the blob that a record has under `before`, else the file in the commit `since`; a file that has neither,
    or whose blob git no longer has, is left out. `root` lies in the repository; the records' own roots may lie
    elsewhere. Raises InputError where there is no repository or no such commit.
    """
    program = find("git")
    if program is None:
        raise ElexirionError("git is not installed", cause="command_failed", mend="Install git.")
    found = ask(program, root, "rev-parse", "--path-format=absolute", "--git-path", "objects", cancelled=cancelled)
    if found.exit_code != 0:
        raise InputError(f"{root} is no git repository, so nothing is known of before", mend="Leave the step out.")
    with tempfile.TemporaryDirectory() as folder:
        git = _Git(program, root, Path(folder, "objects"), found.stdout.removesuffix("\n"), cancelled)
        git.scratch.mkdir()
        then = _blobs_of(git, since) if since else {}
        before = [str(file.get("before") or then.get(str(file["path"]), "")) for file in files]
        there = _existing(git, {blob for blob in before if _HASH.fullmatch(blob)})
        changed = [
            (file, blob) for file, blob in zip(files, before, strict=True) if blob in there and blob != file["blob"]
        ]
        return _compared(git, changed, Path(folder)) if changed else []


def _blobs_of(git: _Git, since: str) -> dict[str, str]:
    """Path to blob of every file that a commit has below the root."""
    verified = ask(git.program, git.root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{since}^{{commit}}")
    if verified.exit_code != 0:
        raise InputError(
            f"{git.root} has no commit {since!r}", mend="Name a commit, a branch or a tag; fetch it first."
        )
    listed = git("ls-tree", "-r", "-z", verified.stdout.strip(), "--", ".")
    entries = (entry.split("\t", 1) for entry in listed.split("\0") if entry)
    return {path: meta.split()[2] for meta, path in entries}


def _existing(git: _Git, blobs: set[str]) -> set[str]:
    """Those that git still has: history may have been rewritten and cleaned up."""
    if not blobs:
        return set()
    said = git("cat-file", "--batch-check=%(objectname) %(objecttype)", stdin="".join(f"{one}\n" for one in blobs))
    return {line.split()[0] for line in said.splitlines() if line.endswith(" blob")}


def _compared(git: _Git, changed: Sequence[tuple[Mapping[str, Any], str]], folder: Path) -> list[Diff]:
    """Number the files, so that no name of theirs reaches git, and compare them all at once."""
    there: list[tuple[Mapping[str, Any], str]] = []
    for file, blob in changed:
        if _copied(file, folder / str(len(there))):
            there.append((file, blob))
    written = "".join(f"{folder / str(number)}\n" for number in range(len(there)))
    now = git("hash-object", "-w", "--no-filters", "--stdin-paths", stdin=written)
    old, new = _tree(git, [blob for _, blob in there]), _tree(git, now.split())
    parts = _FILE.split(git("diff-tree", "--patch", *_DIFF, old, new))
    texts = {int(number): text for number, text in zip(parts[1::2], parts[2::2], strict=True)}
    return [_diff(*there[number], texts[number]) for number in sorted(texts)]


def _copied(file: Mapping[str, Any], to: Path) -> bool:
    """Copy a file; False for one that went away since it was listed."""
    try:
        source = open_below(Path(file["root"]).resolve(), str(file["path"]))
    except InputError:
        return False
    with open(source, "rb") as content:  # noqa: PTH123 a descriptor, not a path
        to.write_bytes(content.read())
    return True


def _tree(git: _Git, blobs: Sequence[str]) -> str:
    entries = "".join(f"100644 blob {blob}\t{number}\n" for number, blob in enumerate(blobs))
    return git("mktree", stdin=entries).strip()


def _diff(file: Mapping[str, Any], before: str, text: str) -> Diff:
    start = text.find("@@ ")
    hunks = text[start:] if start >= 0 else ""
    lines = hunks.split("\n")
    added, removed = (sum(line.startswith(sign) for line in lines) for sign in "+-")
    return Diff(str(file["path"]), before, hunks, added, removed)
