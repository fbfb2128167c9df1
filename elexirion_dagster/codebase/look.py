"""One file as it lies on the disk: its hash, its size, its first bytes, or why it is left out."""

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_KB = 1024
_HEAD_BYTES = 8 * _KB


@dataclass(frozen=True, slots=True)
class Look:
    """One file as found; `reason` says why it is left out, `blobs` are the hashes it may have in git."""

    blobs: tuple[str, ...]
    size: int
    head: bytes
    reason: str | None = None


def looker(root: Path, max_bytes: int, algorithm: str, *, read_all: bool) -> Callable[[str], Look]:
    """Make a function that looks at one path below `root`; it remembers which folders are real.

    Files beyond `max_bytes` are hashed only with `read_all`, which also gives the hash under other line ends.
    """
    real_folders: dict[str, bool] = {}

    def look(path: str) -> Look:
        if "\ufffd" in path or printable(path) != path:
            return Look((), 0, b"", "name is not UTF-8")
        place = os.path.join(root, path)  # noqa: PTH118 thousands of files: a Path each costs more than the hash
        folder = os.path.dirname(place)  # noqa: PTH120 the same
        if folder not in real_folders:
            real_folders[folder] = os.path.realpath(folder) == folder
        if not real_folders[folder]:
            return Look((), 0, b"", "its folder is a symbolic link")
        try:
            return _look(place, max_bytes, algorithm, read_all=read_all)
        except FileNotFoundError:
            return Look((), 0, b"", "not in the working tree")
        except OSError as error:
            return Look((), 0, b"", f"unreadable: {error.strerror}")

    return look


def _look(place: str, max_bytes: int, algorithm: str, *, read_all: bool) -> Look:
    mode = os.lstat(place).st_mode
    if stat.S_ISLNK(mode):
        return Look((), 0, b"", "symbolic link")
    if not stat.S_ISREG(mode):
        return Look((), 0, b"", "not a regular file")
    with open(os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
        size = os.fstat(file.fileno()).st_size
        large = size > max_bytes
        data = file.read() if read_all or not large else b""
    reason = f"larger than {max_bytes // _KB} kB" if large else None
    if b"\0" in data[:_HEAD_BYTES]:
        reason = reason or "binary"
    blobs: tuple[str, ...] = (_blob(data, algorithm),)
    if read_all and b"\r\n" in data:  # git may keep it with the line ends of another system
        blobs += (_blob(data.replace(b"\r\n", b"\n"), algorithm),)
    return Look(blobs, len(data), data[:_HEAD_BYTES], reason)


def _blob(data: bytes, algorithm: str) -> str:
    return hashlib.new(algorithm, b"blob %d\0%b" % (len(data), data), usedforsecurity=False).hexdigest()


def printable(path: str) -> str:
    """Spell a name that is not UTF-8 with backslashes."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")
