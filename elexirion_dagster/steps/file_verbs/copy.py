"""`files` copy: a file or a folder into the workspace, byte by byte."""

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from elexirion_dagster.codebase.descend import Folder, descend
from elexirion_dagster.codebase.look import printable
from elexirion_dagster.codebase.writing import make_below, of_git, writable, write_below
from elexirion_dagster.errors import InputError
from elexirion_dagster.records import StepResult
from elexirion_dagster.spec.files import CopyFiles
from elexirion_dagster.steps.context import StepContext
from elexirion_dagster.steps.file_verbs.sources import open_file
from elexirion_dagster.steps.writing import told

_MOST_BYTES = 2_000_000_000
_CHUNK = 1 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass
class _Copying:
    """A copy under way: what it came to so far."""

    ctx: StepContext
    files: int = 0
    size: int = 0
    skipped: list[dict[str, str]] = field(default_factory=list)

    def file(self, source: BinaryIO, to: str) -> None:
        """Copy an open file; its content is not looked at, and whether it can be executed stays."""
        mode = 0o700 if os.fstat(source.fileno()).st_mode & stat.S_IXUSR else 0o600
        with told(to):
            write_below(self.ctx.shared.workspace, to, self._chunks(source), mode=mode)
        self.files += 1

    def folder(self, inside: Folder, to: str) -> None:
        """Copy what lies directly in a folder; links and what is no file are named, not copied."""
        with told(to):
            make_below(self.ctx.shared.workspace, f"{to}/{inside.path}".rstrip("/"))
        for name in sorted([*inside.names, *inside.left_out]):
            why = self._inner(name, inside, to)
            if why is not None:
                self.skipped.append({"path": printable(inside.path + name), "reason": why})

    def _inner(self, name: str, inside: Folder, to: str) -> str | None:
        """Copy one file of a folder, or say why not."""
        if of_git(Path(name)):
            return "belongs to git"
        try:
            handle = os.open(name, _OPEN, dir_fd=inside.at)
        except OSError as error:
            return "symbolic link" if error.errno == errno.ELOOP else f"unreadable: {error.strerror}"
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            return "not a regular file"
        with open(handle, "rb") as source:  # noqa: PTH123 - a descriptor, not a path
            self.file(source, f"{to}/{inside.path}{name}")
        return None

    def _chunks(self, source: BinaryIO) -> Iterator[bytes]:
        while chunk := source.read(_CHUNK):
            self.ctx.go_on()
            self.size += len(chunk)
            if self.size > _MOST_BYTES:
                raise InputError(f"there are more than {_MOST_BYTES:,} bytes to copy", mend="Copy less.")
            yield chunk


def run(verb: CopyFiles, ctx: StepContext) -> StepResult:
    """`data` holds the new `path`, how many `files` and bytes (`size`), and what was `skipped`."""
    shown, to = ctx.render(verb.from_), ctx.render(verb.to)
    real = ctx.readable(shown)
    target = writable(ctx.shared.workspace, to)
    copying = _Copying(ctx)
    if real.is_dir():
        _copy_folder(copying, real, shown, target, to.rstrip("/"))
    else:
        with open_file(real, shown) as source:
            copying.file(source, to)
    data = {"path": str(target), "files": copying.files, "size": copying.size, "skipped": copying.skipped}
    return StepResult("succeeded", data=data, metadata={"files": copying.files, "size": copying.size})


def _copy_folder(copying: _Copying, real: Path, shown: str, target: Path, to: str) -> None:
    if target.is_relative_to(real) or real.is_relative_to(target):
        raise InputError(f"{shown!r} and {to!r} lie in one another", mend="Copy to a place beside it.")
    for inside in descend(real, shown, enters=lambda name: not of_git(Path(name))):
        copying.folder(inside, to)
