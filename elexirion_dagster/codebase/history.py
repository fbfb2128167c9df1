"""What git's objects say: a branch's head, the files of a commit, what was renamed."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from elexirion_dagster.codebase.executables import find
from elexirion_dagster.codebase.git import ask
from elexirion_dagster.errors import ElexirionError, InputError
from elexirion_dagster.shell import Completed, Limits

_LINK, _SUBMODULE = "120000", "160000"
_RENAMES = ("-M60%", "-l2000")
_LIMITS = Limits(memory_mb=16_384, output_bytes=512 * 1024 * 1024)  # git maps whole packs
_READ_BYTES = 64 * 1024 * 1024
_READ_FILES = 2000
REMOTE = "refs/remotes/origin/"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a commit: its blob and size, or why it is no file of this repository."""

    path: str
    blob: str
    size: int
    reason: str | None = None


def head(root: Path, branch: str | None, *, fetched: bool = False) -> tuple[str, str | None]:
    """The commit at the head of a branch and the branch's name; HEAD's where `branch` is None.

    `fetched`: the remote's branch as it was fetched last, else the local one if there is any. Raises InputError.
    """
    wanted = branch or current_branch(root)
    if wanted is None and not fetched:
        return _commit(root, "HEAD", "it has no commit yet"), None
    if wanted is None:
        raise InputError(
            f"HEAD of {root} is on no branch, so there is none to fetch", mend="Name one: partitions: {branch: main}."
        )
    places = [f"{REMOTE}{wanted}"] if fetched else [f"refs/heads/{wanted}", f"{REMOTE}{wanted}"]
    for place in places:
        found = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{place}^{{commit}}")
        if found.exit_code == 0:
            return found.stdout.strip(), wanted
    if branch is None:
        return _commit(root, "HEAD", f"its branch {wanted} has no commit yet"), wanted
    listed = _git(root, "for-each-ref", "--format=%(refname:short)", "--count=8", "refs/heads", REMOTE).stdout.split()
    known = ", ".join(listed) or "none"
    raise InputError(f"{root} has no branch {wanted!r}", mend=f"It may have been deleted. Branches there: {known}.")


def entries(root: Path, commit: str) -> list[Entry]:
    """Every entry of a commit below `root`, in path order. Raises InputError where git does not have it."""
    listed = _git(root, "ls-tree", "-r", "-l", "-z", commit, "--", ".")
    if listed.exit_code != 0 or listed.truncated:
        raise _gone(root, commit, listed)
    return sorted((_entry(line) for line in listed.stdout.split("\0") if line), key=lambda one: one.path)


def renames(root: Path, old: str, new: str) -> dict[str, str] | None:
    """Old path to new path of what was renamed between two commits; None where git does not have the old one."""
    words = ("-r", "-z", "--relative", "--no-ext-diff", "--no-textconv", "--diff-filter=R", "--name-status")
    found = _git(root, "diff-tree", *words, *_RENAMES, old, new)
    if found.exit_code != 0:
        return None
    parts = found.stdout.split("\0")
    return {parts[at + 1]: parts[at + 2] for at in range(0, len(parts) - 2, 3)}


def changed_since(root: Path, ref: str) -> tuple[str, list[str]]:
    """The commit that `ref` means, and the paths that HEAD has otherwise; `ref...` is where HEAD parted from it.

    Raises InputError.
    """
    name = ref.replace("\u2026", "...")
    if name.startswith("-") or ".." in name.removesuffix("...").removesuffix(".."):
        raise InputError(f"{ref!r} is no revision", mend="Write --diff origin/main..., or --diff and one commit.")
    base = _git(root, "rev-parse", "--verify", "--quiet", f"{name.rstrip('.')}^{{commit}}").stdout.strip()
    if not base:
        mend = "Fetch it first; in CI the checkout must have the history (fetch-depth: 0)."
        raise InputError(f"{root} has no revision {name.rstrip('.')!r}", mend=mend)
    if name.endswith("..."):
        base = _git(root, "merge-base", base, "HEAD").stdout.strip()
    if not base:
        mend = "Fetch more of the history (fetch-depth: 0), or write the revision without dots."
        raise InputError(f"git knows no commit that HEAD and {name.rstrip('.')} have in common", mend=mend)
    words = ("-r", "-z", "--relative", "--no-renames", "--no-ext-diff", "--no-textconv", "--name-only")
    found = _git(root, "diff-tree", *words, base, "HEAD")
    return base, [path for path in found.stdout.split("\0") if path]


def contents(root: Path, blobs: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
    """The content of blobs (hash to size), as git keeps it: no filter, no line ends changed. Raises InputError."""
    for share in _shares(blobs):
        asked = "".join(f"{blob}\n" for blob in share)
        done = _git(root, "cat-file", "--batch", stdin=asked, raw=True)
        data, at = done.stdout_bytes, 0
        for blob in share:
            line = data[at : data.find(b"\n", at)]
            if done.exit_code != 0 or line != b"%s blob %d" % (blob.encode(), blobs[blob]):
                raise _gone(root, blob, done)
            begin = at + len(line) + 1
            at = begin + blobs[blob] + 1
            yield blob, data[begin : at - 1]


def _shares(blobs: Mapping[str, int]) -> Iterator[list[str]]:
    share: list[str] = []
    size = 0
    for blob, length in blobs.items():
        if share and (size + length > _READ_BYTES or len(share) == _READ_FILES):
            yield share
            share, size = [], 0
        share.append(blob)
        size += length
    if share:
        yield share


def generated(root: Path, paths: Iterable[str], commit: str | None, scratch: Path) -> dict[str, str]:
    """Which files `.gitattributes` calls generated or vendored, with that word; as of a commit or the working tree."""
    names = ("linguist-generated", "linguist-vendored")
    environment: dict[str, str] = {}
    source = []
    if commit is not None:
        environment, source = {"GIT_INDEX_FILE": str(scratch / "index")}, ["--cached"]
        read = _git(root, "read-tree", commit, env=environment)
        if read.exit_code != 0:
            raise _gone(root, commit, read)
    asked = "".join(f"{path}\0" for path in paths)
    words = ("-c", "core.attributesFile=/dev/null", "check-attr", *source, "-z", "--stdin", *names)
    done = _git(root, *words, stdin=asked, env=environment)
    if done.exit_code != 0:
        message = f"git in {root} cannot say which files are generated: {_said(done)}"
        raise ElexirionError(message, cause="command_failed", mend="Look at the repository's .gitattributes.")
    said = done.stdout.split("\0")
    found: dict[str, str] = {}
    for path, name, value in zip(said[::3], said[1::3], said[2::3], strict=False):
        if value in ("set", "true"):
            found.setdefault(path, name.removeprefix("linguist-"))
    return found


def object_format(root: Path) -> str | None:
    """The hash of a repository's objects (sha1, sha256); None where git knows of no repository."""
    if find("git") is None:
        return None
    found = _git(root, "rev-parse", "--show-object-format")
    return found.stdout.strip() if found.exit_code == 0 else None


def current_branch(root: Path) -> str | None:
    """The branch that HEAD is on; None where it is on none."""
    found = _git(root, "symbolic-ref", "--quiet", "--short", "HEAD")
    return found.stdout.strip() if found.exit_code == 0 else None


def _commit(root: Path, name: str, otherwise: str) -> str:
    found = _git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if found.exit_code != 0:
        raise InputError(f"{root} cannot be scanned as of its last commit: {otherwise}", mend="Commit something first.")
    return found.stdout.strip()


def _entry(line: str) -> Entry:
    meta, path = line.split("\t", 1)
    mode, _kind, blob, size = meta.split()
    reason = {_LINK: "symbolic link", _SUBMODULE: "git submodule"}.get(mode)
    if "\ufffd" in path:
        reason = "name is not UTF-8"
    return Entry(path, blob, int(size) if size.isdigit() else 0, reason)


def _gone(root: Path, what: str, done: Completed) -> InputError:
    return InputError(
        f"git in {root} does not have {what[:12]} (any more): {_said(done)}",
        mend="Its history was rewritten and cleaned up, or the clone is shallow or partial and has only a part of it. "
        "The next scan begins anew.",
    )


def _git(
    root: Path, *words: str, stdin: str | None = None, env: Mapping[str, str] | None = None, raw: bool = False
) -> Completed:
    return ask(_program(), root, *words, stdin=stdin, env=env, raw=raw, limits=_LIMITS)


def _program() -> str:
    git = find("git")
    if git is None:
        raise ElexirionError("git is not installed", cause="command_failed", mend="Install git.")
    return git


def _said(done: Completed) -> str:
    lines = done.stderr.strip().splitlines()
    return lines[-1][:300] if lines else f"exit code {done.exit_code}"
