"""Where tools may act, and what they may read there."""

import os
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from elexirion_dagster.codebase.confine import open_real
from elexirion_dagster.codebase.writing import of_git
from elexirion_dagster.errors import Cancelled, InputError, PolicyError, unreadable
from elexirion_dagster.sandbox.policy import Sandbox

MAX_FILE_BYTES = 16_000_000
"""The largest file that is read or written."""
_HEAD_BYTES = 8192


@dataclass(frozen=True, slots=True)
class ToolPlace:
    """Where tools may act: they write in `workspace`, read what `readable` finds, run `programs` in `sandbox`.

    `readable` gives the real place of a path or raises PolicyError; `time_left_s` raises a timeout when there is none.
    `granted` are the places that `path` inputs name.
    """

    workspace: Path
    readable: Callable[[str], Path]
    programs: tuple[str, ...]
    time_left_s: Callable[[], float]
    cancelled: threading.Event
    sandbox: Sandbox
    granted: tuple[Path, ...] = ()

    def go_on(self) -> None:
        """Raise Cancelled or a timeout if the tool must not go on."""
        if self.cancelled.is_set():
            raise Cancelled
        self.time_left_s()

    def find(self, path: str) -> Path:
        """The real place of what may be read at `path`. Raises PolicyError, InputError."""
        real = self.readable(path)
        if of_git(real):
            raise PolicyError(f"{path!r} belongs to git", cause="tool_denied", mend="Name another file.")
        return real

    def read(self, path: str) -> bytes:
        """The bytes of a file of text. Raises PolicyError; InputError where there is none."""
        try:
            handle = open_real(self.find(path))
            kind = os.fstat(handle).st_mode
            if not stat.S_ISREG(kind):
                os.close(handle)
                what = "a folder; use glob to see what is in it" if stat.S_ISDIR(kind) else "no regular file"
                raise InputError(f"{path!r} is {what}")
            with open(handle, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
                data = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise InputError(f"{path!r} {unreadable(error)}", mend="Use glob to see which files there are.") from error
        return _text_only(path, data)


def is_binary(data: bytes) -> bool:
    """Whether the first bytes of a file say that it is no text."""
    return b"\0" in data[:_HEAD_BYTES]


def _text_only(path: str, data: bytes) -> bytes:
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"{path!r} is larger than {MAX_FILE_BYTES:,} bytes", mend="Use grep to look into it.")
    if is_binary(data):
        raise InputError(f"{path!r} is a binary file", mend="Only files of text can be read.")
    return data
