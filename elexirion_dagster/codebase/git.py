"""What git knows of a folder, asked so that a hostile repository cannot make git run anything.

Only listing commands are used: they never compare contents, so no filter, hook, monitor, pager or transport of the
repository's configuration is reached; each is switched off besides.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from elexirion_dagster.codebase.executables import find
from elexirion_dagster.shell import Completed, Limits, run

_SAFE = (
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.quotePath=false"),
    *("-c", "safe.directory=*"),  # a repository owned by another user is listed, not run
    *("-c", "safe.bareRepository=explicit"),
)
_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",  # a partial clone must not fetch, whatever its remote's helper is
    "HOME": "/dev/null",  # not the scanned folder
}
_TIMEOUT_S = 120.0
_LIMITS = Limits(output_bytes=512 * 1024 * 1024)
_LINK, _SUBMODULE = "120000", "160000"


@dataclass(frozen=True, slots=True)
class GitListing:
    """What git lists below a folder, as paths relative to it.

    `paths` are files of the index (with untracked ones where asked for); `committed` maps each path of HEAD to its
    blob hash; `skipped` maps paths that are no files of this repository to the reason.
    """

    paths: frozenset[str]
    committed: Mapping[str, str]
    skipped: Mapping[str, str]
    algorithm: str


def listing(root: Path, *, untracked: bool, cancelled: threading.Event | None = None) -> GitListing | str:
    """List the git files below `root`, or say in a few words why git cannot."""
    git = find("git")
    if git is None:
        return "git is not installed"
    index = ask(git, root, "ls-files", "-s", "-z", cancelled=cancelled)
    if index.exit_code != 0 or index.truncated:
        return _why(index)
    entries = dict(_entry(line) for line in _parts(index.stdout))
    others: list[str] = []
    if untracked:
        others = _parts(ask(git, root, "ls-files", "-o", "--exclude-standard", "-z", cancelled=cancelled).stdout)
    skipped = {path: "symbolic link" for path, (mode, _) in entries.items() if mode == _LINK}
    skipped |= {path: "git submodule" for path, (mode, _) in entries.items() if mode == _SUBMODULE}
    skipped |= {path.rstrip("/"): "git repository of its own" for path in others if path.endswith("/")}
    paths = frozenset(entries) | frozenset(path for path in others if not path.endswith("/"))
    committed = _committed(git, root, cancelled) if untracked else {}
    wide = any(len(blob) > 40 for _, blob in entries.values())  # noqa: PLR2004 a SHA-1 has 40 hex digits
    return GitListing(paths - skipped.keys(), committed, skipped, "sha256" if wide else "sha1")


def _committed(git: str, root: Path, cancelled: threading.Event | None) -> dict[str, str]:
    """Path to blob hash in HEAD; empty where nothing was committed yet."""
    tree = ask(git, root, "ls-tree", "-r", "-z", "HEAD", cancelled=cancelled)
    if tree.exit_code != 0:
        return {}
    entries = (line.split("\t", 1) for line in _parts(tree.stdout))
    return {path: meta.split()[2] for meta, path in entries}


def is_bare(root: Path) -> bool:
    """Whether a folder is itself a repository without a working tree (a server's `*.git`), and in nobody else's tree.

    One that lies in a working tree is a part of the scanned code and is not asked.
    """
    there = (root / "HEAD").is_file() and (root / "objects").is_dir() and (root / "refs").is_dir()
    return there and not any((place / ".git").exists() for place in (root, *root.absolute().parents))


def ask(
    git: str,
    root: Path,
    *args: str,
    env: Mapping[str, str] | None = None,
    limits: Limits = _LIMITS,
    timeout_s: float = _TIMEOUT_S,
    cancelled: threading.Event | None = None,
    stdin: str | None = None,
    raw: bool = False,
) -> Completed:
    """Run git in `root` with everything switched off that its configuration could have it run."""
    return run(
        [git, *_SAFE, *args],
        cwd=root,
        timeout_s=timeout_s,
        env={**_ENVIRONMENT, **({"GIT_DIR": str(root.absolute())} if is_bare(root) else {}), **(env or {})},
        stdin=stdin,
        limits=limits,
        cancelled=cancelled,
        raw=raw,
    )


def _entry(line: str) -> tuple[str, tuple[str, str]]:
    meta, path = line.split("\t", 1)
    mode, blob, _stage = meta.split()
    return path, (mode, blob)


def _parts(text: str) -> list[str]:
    return [part for part in text.split("\0") if part]


def _why(failed: Completed) -> str:
    if failed.truncated:
        return "git lists more files than can be read"
    said = failed.stderr.strip().splitlines()
    first = said[0] if said else f"exit code {failed.exit_code}"
    return "no git repository here" if "not a git repository" in first else f"git could not list them ({first[:200]})"
