"""Opening a file that a verb reads: a real place, no link slipped in, no pipe or device."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from elexirion_dagster.codebase.confine import open_real
from elexirion_dagster.errors import InputError, unreadable

MAX_BYTES = 64_000_000
"""The largest file whose data is read as a whole."""


def open_file(real: Path, shown: str) -> BinaryIO:
    """Open a regular file for reading. Raises InputError where there is none."""
    try:
        handle = open_real(real)
    except OSError as error:
        raise InputError(f"{shown!r} {unreadable(error)}", mend="Name a file that is there.") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise InputError(f"{shown!r} is no regular file", mend="Name a file.")
    return open(handle, "rb")  # noqa: PTH123 - a descriptor, not a path


def read_bytes(real: Path, shown: str) -> bytes:
    """All bytes of a file. Raises InputError where there is none, or where it is too large."""
    with open_file(real, shown) as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputError(f"{shown!r} is larger than {MAX_BYTES:,} bytes", mend="Take a smaller file.")
    return data
