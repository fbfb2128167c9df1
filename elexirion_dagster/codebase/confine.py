"""Paths that stay inside what was granted, whatever links and names say."""

import os
import stat
from pathlib import Path, PurePosixPath

from elexirion_dagster.errors import InputError, PolicyError, unreadable

FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
"""Flags for a folder on the way: it need not be readable, only passable."""


def confine(root: Path, path: str) -> Path:
    """Find the real place of `path` (relative, forward slashes) below `root`, with every link on the way resolved.

    The place need not exist. It holds no link, so it may be opened with O_NOFOLLOW, for reading or writing.
    Raises PolicyError (tool_denied) for an absolute path, a `..`, or a link that leaves the root; InputError where
    there is no root.
    """
    pure = PurePosixPath(path)
    if not path or "\0" in path or pure.is_absolute() or ".." in pure.parts:
        raise _denied(path, root)
    try:
        real_root = root.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise InputError(f"{root} {unreadable(error)}", mend="Name an existing folder.") from error
    try:
        place = (real_root / pure).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise _denied(path, root) from error
    if not place.is_relative_to(real_root):
        raise _denied(path, root)
    return place


def open_below(root: Path, path: str) -> int:
    """Open for reading the file that `confine` names, folder by folder so that no link slips in.

    The descriptor is the caller's to close.

    Raises PolicyError as `confine` does, InputError where there is no such readable file.
    """
    real_root = root.resolve()
    *folders, name = confine(root, path).relative_to(real_root).parts or (".",)
    try:
        at = os.open(real_root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for folder in folders:
            at = _step(at, folder, os.O_DIRECTORY)
        at = _step(at, name, os.O_NONBLOCK)
    except OSError as error:
        raise InputError(
            f"{path} below {root} {unreadable(error)}",
            mend="Name a file that exists there and that you may read.",
        ) from error
    if not stat.S_ISREG(os.fstat(at).st_mode):
        os.close(at)
        raise InputError(f"{path} below {root} is not a regular file", mend="Name a file of text.")
    return at


def open_real(place: Path, flags: int = os.O_NONBLOCK) -> int:
    """Open for reading an absolute `place` that was found to hold no link; one that was put in since is refused.

    The descriptor is the caller's to close. Raises OSError.
    """
    *folders, name = place.relative_to(place.anchor).parts or (".",)
    at = os.open(place.anchor, FOLDER)
    for folder in folders:
        at = _step(at, folder, FOLDER)
    return _step(at, name, flags)


def _step(at: int, name: str, flags: int) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=at)
    finally:
        os.close(at)


def _denied(path: str, root: Path) -> PolicyError:
    return PolicyError(
        f"{path!r} leads out of {root}",
        cause="tool_denied",
        mend="Give a path relative to that folder, without '..' and without links that leave it.",
    )
