"""Which machine this is, so that a home is not used by two of them at the same time."""

import hashlib
import os
import re
import sys
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Self

import psutil

from elexirion_dagster.records import Json

_MACHINE_ID, _BOOT_ID = Path("/etc/machine-id"), Path("/proc/sys/kernel/random/boot_id")
_ID = re.compile("[0-9a-f]{32}")
_LOCAL = frozenset(
    "apfs bcachefs btrfs ext2 ext3 ext4 f2fs hfs jfs overlay ramfs reiserfs tmpfs ufs xfs zfs".split()  # noqa: SIM905
)
"""File systems that one kernel has to itself. Any other one may be shared by several machines."""


@dataclass(frozen=True, slots=True)
class Host:
    """A machine: an id that stays, an id that changes with each start of its kernel, its name for people.

    Containers of one machine have its kernel's `boot` in common, whatever their `machine` and `name` are.
    """

    machine: str | None
    boot: str | None
    name: str

    def is_same(self, other: "Host") -> bool:
        """Whether both are one machine, before and after a restart included."""
        same_boot = self.boot is not None and self.boot == other.boot
        return same_boot or (self.machine is not None and self.machine == other.machine)

    def to_json(self) -> dict[str, Json]:
        """The form in which it is kept."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Json]) -> Self:
        """Raises KeyError or TypeError when it is not a host."""
        return cls(fields["machine"], fields["boot"], str(fields["name"]))


@cache
def this_host() -> Host:
    """The machine that this process runs on. Ids are hashed: machine-id(5) asks not to publish them."""
    return Host(_hashed(_machine()), _hashed(_text(_BOOT_ID)), os.uname().nodename)


def is_local(path: Path) -> bool:
    """Whether only one machine at a time can use the file system of this folder."""
    mounts = {Path(one.mountpoint): one.fstype for one in psutil.disk_partitions(all=True)}
    place = path.resolve()
    return next((mounts[folder] for folder in (place, *place.parents) if folder in mounts), "") in _LOCAL


def _machine() -> str | None:
    if sys.platform == "linux":
        text = _text(_MACHINE_ID) or ""
        return text if _ID.fullmatch(text) else None  # an image may hold "uninitialized"
    node = uuid.getnode()
    return None if node >> 40 & 1 else str(node)  # with that bit it is a random number, not a network card's


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="ascii").strip() or None
    except (OSError, ValueError):
        return None


def _hashed(text: str | None) -> str | None:
    return None if text is None else hashlib.sha256(f"elexirion {text}".encode()).hexdigest()[:32]
