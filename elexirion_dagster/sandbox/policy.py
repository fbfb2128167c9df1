"""What one command may see and reach."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

Mode = Literal["auto", "required", "off"]
"""`auto`: isolated where this machine can do it; `required`: else not at all; `off`: never."""


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The places and the network that a command is given; whatever is not named here or by the system is not there."""

    mode: Mode = "auto"
    network: bool = False
    writable: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()
    """Hidden even where they lie in a readable place, though not what is writable inside them."""
    protected: tuple[Path, ...] = ()
    """Read-only although they lie in a writable place."""

    def under(self, mode: Mode | None, *, network: bool) -> Self:
        """This sandbox for one step; `required` is never weakened, neither here nor there."""
        if mode is None or self.mode == "required":
            mode = self.mode
        return replace(self, mode=mode, network=network)


PROGRAMS_ONLY = Sandbox()
"""Installed programs only: no place of the user's, no network."""
