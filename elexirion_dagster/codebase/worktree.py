"""A detached git worktree of a repository: made, found again, asked for its commits, removed.

The repository may be hostile: no hook, filter, monitor or transport of its configuration is run, and what a program
wrote into the worktree (its `.git` file too) is not trusted; git is asked in the repository itself.
"""

import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from elexirion_dagster.codebase.executables import find
from elexirion_dagster.codebase.git import ask
from elexirion_dagster.codebase.git_config import writing_environment
from elexirion_dagster.errors import ElexirionError, InputError
from elexirion_dagster.shell import Completed, Limits

_TIMEOUT_S = 900.0
_LIMITS = Limits(memory_mb=16_384, output_bytes=16_000_000)  # git maps whole packs
_BEING_MADE = "elexirion: being made"
_OFF = (
    *("-c", "submodule.recurse=false"),
    *("-c", "gc.auto=0"),
    *("-c", "core.attributesFile=/dev/null"),
)


@dataclass(frozen=True, slots=True)
class GitFolders:
    """Where git keeps what belongs to a worktree: in its repository's git folder, and in one of its own inside that."""

    common: Path
    own: Path


def head_of(repository: Path, cancelled: threading.Event | None = None) -> str:
    """The commit that a repository's HEAD is at. Raises InputError where `repository` is not its top folder."""
    if find("git") is None:
        raise InputError("a worktree needs git, which is not installed", mend="Install git.")
    if not repository.is_dir():
        raise InputError(f"{repository} is no folder", mend="Give the folder of a git repository.")
    _check_place(repository, cancelled)
    head = _git(repository, "rev-parse", "--verify", "--quiet", "HEAD^{commit}", cancelled=cancelled)
    if head.exit_code != 0:
        raise InputError(
            f"{repository} has no commit yet, so there is nothing to make a worktree of", mend="Commit something first."
        )
    return head.stdout.strip()


def open_worktree(repository: Path, folder: Path, commit: str, cancelled: threading.Event | None = None) -> None:
    """Make `folder`, which is empty, a worktree at `commit`; one that is there already stays as it is.

    Raises InputError where git cannot make it.
    """
    known = _known(repository, folder, cancelled)
    if known is not None and known.get("locked") != _BEING_MADE and any(folder.iterdir()):
        return
    if known is not None:
        remove_worktree(repository, folder)
        folder.mkdir(mode=0o700, exist_ok=True)
    if any(folder.iterdir()):
        raise InputError(
            f"{folder} holds work, and {repository} does not know it as a worktree any more",
            mend="Move the work elsewhere, or try `git worktree repair` in the repository.",
        )
    words = ("worktree", "add", "--quiet", "--detach", "--no-checkout", "--lock", "--reason", _BEING_MADE)
    env = writing_environment(repository, cancelled=cancelled)
    _must(_git(repository, *words, "--", str(folder), commit, env=env, cancelled=cancelled), repository)
    _must(_git(folder, "reset", "--hard", "--quiet", commit, env=env, cancelled=cancelled), repository)
    _must(_git(repository, "worktree", "unlock", "--", str(folder), cancelled=cancelled), repository)


def git_folders(repository: Path, folder: Path) -> GitFolders:
    """The git folders of the worktree in `folder`, as the repository knows them. Raises InputError if it does not."""
    words = ("rev-parse", "--path-format=absolute", "--git-common-dir")
    common = _path(_must(_git(repository, *words), repository))
    for own in (common / "worktrees").iterdir():
        if (own / "gitdir").is_file() and (own / "gitdir").read_text(encoding="utf-8").strip() == str(folder / ".git"):
            return GitFolders(common, own)
    raise InputError(f"{repository} does not know {folder} as a worktree", mend="Try `git worktree repair` there.")


def new_commit(repository: Path, folder: Path, base: str) -> str | None:
    """The commit a worktree is at where it holds some that `base` does not, or where somebody locked it; else None."""
    return _beyond(repository, folder, f"^{base}")


def unsaved_commit(repository: Path, folder: Path) -> str | None:
    """The commit a worktree is at where no branch or tag leads to it, or where somebody locked it; else None."""
    return _beyond(repository, folder, "--not", "--branches", "--tags", "--remotes")


def remove_worktree(repository: Path, folder: Path) -> None:
    """Remove the folder, and what the repository (if it is still there) knows of it. Raises OSError."""
    if folder.exists():
        shutil.rmtree(folder)
    if repository.is_dir():
        _git(repository, "worktree", "remove", "--force", "--force", "--", str(folder))


def _beyond(repository: Path, folder: Path, *known: str) -> str | None:
    entry = _known(repository, folder)
    if entry is None or "HEAD" not in entry:
        return None
    if entry.get("locked", _BEING_MADE) != _BEING_MADE:
        return entry["HEAD"]
    found = _git(repository, "rev-list", "--max-count=1", entry["HEAD"], *known)
    return entry["HEAD"] if found.exit_code != 0 or found.stdout.strip() else None


def _check_place(repository: Path, cancelled: threading.Event | None) -> None:
    """Refuse what is no repository's top folder, and a git folder elsewhere that does not know of this place."""
    top = _git(repository, "rev-parse", "--show-toplevel", cancelled=cancelled)
    if top.exit_code != 0:
        raise InputError(
            f"{repository} is no git repository with a working tree: {_said(top)}",
            mend="Give the top folder of a repository, or leave workspace out: the run gets its own folder.",
        )
    real, found = repository.resolve(), Path(top.stdout.removesuffix("\n"))
    if found.resolve() != real:
        raise InputError(f"{repository} is not the top folder of its repository", mend=f"Give {found}.")
    words = ("rev-parse", "--path-format=absolute")
    common = _path(_git(repository, *words, "--git-common-dir", cancelled=cancelled))
    own = _path(_git(repository, *words, "--git-dir", cancelled=cancelled))
    if not common.is_relative_to(real) and not _points_back(own, common, real):
        raise InputError(
            f"the git folder of {repository} is {common}, which lies outside and does not know this place",
            mend="Give the main working tree, or clone the repository.",
        )


def _points_back(own: Path, common: Path, real: Path) -> bool:
    """Whether a git folder elsewhere has this place among its worktrees."""
    note = own / "gitdir"
    if own.parent != common / "worktrees" or not note.is_file():
        return False
    return Path(note.read_text(encoding="utf-8", errors="replace").strip()).resolve() == real / ".git"


def _known(repository: Path, folder: Path, cancelled: threading.Event | None = None) -> Mapping[str, str] | None:
    """What the repository knows of the worktree in `folder`: its `HEAD`, and `locked` where it is; None if nothing."""
    listed = _git(repository, "worktree", "list", "--porcelain", "-z", cancelled=cancelled)
    for block in listed.stdout.split("\0\0"):
        entry = dict(line.partition(" ")[::2] for line in block.split("\0") if line)
        if entry.get("worktree") == str(folder):
            return entry
    return None


def _git(
    place: Path, *args: str, env: Mapping[str, str] | None = None, cancelled: threading.Event | None = None
) -> Completed:
    git = find("git")
    if git is None:
        raise ElexirionError("git is not installed any more", cause="command_failed", mend="Install git.")
    return ask(git, place, *_OFF, *args, env=env, limits=_LIMITS, timeout_s=_TIMEOUT_S, cancelled=cancelled)


def _must(done: Completed, repository: Path) -> Completed:
    if done.exit_code == 0:
        return done
    raise InputError(
        f"git cannot make a worktree of {repository}: {_said(done)}",
        mend="Mend the repository, or leave workspace out: the run gets its own folder.",
    )


def _path(done: Completed) -> Path:
    return Path(done.stdout.removesuffix("\n")).resolve()


def _said(done: Completed) -> str:
    lines = done.stderr.strip().splitlines()
    return lines[-1][:300] if lines else f"exit code {done.exit_code}"
