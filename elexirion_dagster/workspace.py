"""Where a run writes: a folder of its own, or a git worktree of the repository it works on."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from elexirion_dagster.codebase.worktree import (
    GitFolders,
    git_folders,
    head_of,
    new_commit,
    open_worktree,
    remove_worktree,
    unsaved_commit,
)
from elexirion_dagster.errors import ElexirionError, PolicyError, StorageError
from elexirion_dagster.sandbox.policy import Sandbox
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.holding import Held, held
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.replay import Replay

_log = logging.getLogger(__name__)
_PIN = "worktree"

Pin = Callable[[str, Callable[[], Any]], Any]
"""What a name was settled as when the root run began; else what the function gives, from now on."""


@contextmanager
def workspace_of(home: Home, root_run: str) -> Iterator[Held]:
    """The folder of a root run and its recoveries, which reuse what the finished steps wrote there."""
    with held(home.workspace(root_run).resolve()) as holding:
        yield holding


@contextmanager
def worktree_in(
    holding: Held,
    repository: Path,
    granted: tuple[Path, ...],
    pin: Pin,
    *,
    is_done: Callable[[], bool],
    kept: Callable[[str | None], None],
) -> Iterator[GitFolders]:
    """Make the folder a worktree of `repository`, at the commit that was its HEAD when the root run began.

    At the end it is removed if the run is done and made no commit in it; `kept` hears why it stays, or None.
    Raises PolicyError for a repository that is no `path` input, InputError.
    """
    if repository.resolve() not in granted:
        raise PolicyError(
            f"{repository} is no input of type path, so no worktree is made of it",
            cause="tool_denied",
            mend="Write worktree_of: {{ inputs.repo }}, with repo an input of type path.",
        )
    made_of = pin(_PIN, lambda: {"repository": str(repository.resolve()), "commit": head_of(repository.resolve())})
    place, commit = Path(made_of["repository"]), made_of["commit"]
    open_worktree(place, holding.folder, commit)
    yield git_folders(place, holding.folder)
    try:
        why = _why_kept(holding, place, commit, done=is_done())
        if why is None:
            remove_worktree(place, holding.folder)
    except (OSError, ElexirionError) as error:
        _log.warning("the worktree %s cannot be removed: %s", holding.folder, error)
        why = f"it cannot be removed: {error}"
    try:
        kept(why)
    except StorageError as error:  # the run is over: what it did stands, whether or not this can be noted
        _log.warning("what became of the worktree %s is not noted: %s", holding.folder, error)


def sandbox_in(workspace: Path, git: GitFolders | None, readable: tuple[Path, ...], settings: Settings) -> Sandbox:
    """What the programs of a run may see: they write in its workspace only, and in a worktree they can commit.

    For a commit git writes objects, and HEAD, index and log of the worktree. What could make git run a program, or
    lead it elsewhere, stays as it is: the repository's configuration and hooks, and the links between the two.
    """
    if git is None:
        return Sandbox(settings.sandbox, writable=(workspace,), readable=readable, hidden=(settings.home,))
    objects = git.common / "objects"
    return Sandbox(
        settings.sandbox,
        writable=(workspace, objects, git.own),
        readable=(*readable, git.common),
        hidden=(settings.home, git.common / "hooks"),  # some git commands run hooks whatever core.hooksPath says
        protected=(
            workspace / ".git",
            *(git.own / name for name in ("gitdir", "commondir", "config.worktree")),
            *(objects / name for name in ("info", "pack")),
        ),
    )


def _why_kept(holding: Held, repository: Path, base: str, *, done: bool) -> str | None:
    if not done:
        return "the run did not get to its end; a recovery goes on in it"
    if not holding.alone():
        return "another run works in it"
    commit = new_commit(repository, holding.folder, base)
    return f"it holds commits, the last one {commit[:12]}" if commit else None


def release(home: Home, folder: Path) -> bool:
    """Let go of a workspace that is about to be removed; False where that would lose commits.

    A worktree is removed, and forgotten by its repository.
    """
    known = (home.journal / folder.name).is_dir()
    made_of = Replay.load(home, folder.name).pins.get(_PIN) if known else None
    if made_of is None:
        return True
    repository = Path(made_of["repository"])
    if repository.is_dir() and unsaved_commit(repository, folder):
        return False
    remove_worktree(repository, folder)
    return True
