"""Changing files below a folder: nothing leads out of it, and git's own files stay as they are."""

import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath, PurePosixPath

from elexirion_dagster.codebase.confine import FOLDER, confine
from elexirion_dagster.errors import InputError, PolicyError

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def writable(root: Path, path: str) -> Path:
    """Find the real place of `path` below `root`, which need not exist.

    Raises PolicyError (tool_denied) where it leads out, is the root itself, or belongs to git: whoever writes hooks
    or configuration there has programs run later.
    """
    return _checked(root, path, confine(root, path))


def entry(root: Path, path: str) -> Path:
    """Find the place of `path` as `writable` does, but that of a link itself, not of what it leads to."""
    pure = PurePosixPath(path)
    unusual = pure.name in ("", "..") or "\0" in path or path.encode("utf-8", "replace").decode() != path
    return writable(root, path) if unusual else _checked(root, path, confine(root, str(pure.parent)) / pure.name)


def _checked(root: Path, path: str, place: Path) -> Path:
    inside = place.relative_to(root.resolve())
    if not inside.parts:
        raise PolicyError(
            f"{path!r} is the whole folder {root}", cause="tool_denied", mend="Name a file or a folder in it."
        )
    if of_git(inside) or of_git(PurePath(path)):
        raise PolicyError(
            f"{path!r} belongs to git, which alone writes there", cause="tool_denied", mend="Name another file."
        )
    return place


def of_git(place: PurePath) -> bool:
    """Whether a path is git's own: `.git` in any case, for file systems that do not tell them apart."""
    return any(part.casefold() == ".git" for part in place.parts)


def write_below(root: Path, path: str, chunks: Iterable[bytes], *, mode: int | None = None) -> Path:
    """Put a file at `path` below `root`, whole or not at all; folders on the way are made. Returns its real place.

    The file keeps the mode it has; a new one gets `mode` (0600). Raises PolicyError as `writable` does, InputError
    where something other than a file is there, OSError.
    """
    place = writable(root, path)
    with parent_of(root, place, make=True) as at:
        mode = _mode_of(at, place.name, path) or mode or 0o600
        part = f".{secrets.token_hex(8)}.part"
        try:
            with open(os.open(part, _NEW, mode, dir_fd=at), "wb") as file:  # noqa: PTH123 - a descriptor, not a path
                file.writelines(chunks)
                os.fchmod(file.fileno(), mode)
            os.rename(part, place.name, src_dir_fd=at, dst_dir_fd=at)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(part, dir_fd=at)
            raise
    return place


def make_below(root: Path, path: str) -> Path:
    """Make a folder at `path` below `root`, and those on the way. Raises PolicyError, OSError."""
    place = writable(root, path)
    with parent_of(root, place / "in it", make=True):
        return place


@contextmanager
def parent_of(root: Path, place: Path, *, make: bool = False) -> Iterator[int]:
    """The folder of a real place below `root`, opened step by step so that no link slips in. Raises OSError."""
    real_root = root.resolve()
    at = os.open(real_root, FOLDER)
    try:
        for folder in place.relative_to(real_root).parts[:-1]:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(folder, 0o700, dir_fd=at)
            inner = os.open(folder, FOLDER, dir_fd=at)
            os.close(at)
            at = inner
        yield at
    finally:
        os.close(at)


def _mode_of(at: int, name: str, path: str) -> int | None:
    """The mode of the file that is there; None where nothing is."""
    try:
        found = os.stat(name, dir_fd=at, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "no regular file"
        raise InputError(f"{path!r} is {what}", mend="Name a file.")
    return stat.S_IMODE(found.st_mode) & 0o777
