"""What Landlock allows a command, as words for the supervisor."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from elexirion_dagster.sandbox.places import system
from elexirion_dagster.sandbox.policy import Sandbox

_DEVICES = tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "shm", "ptmx", "pts"))


def rules(sandbox: Sandbox, places: Iterable[Path], *, scratch: Path) -> tuple[str, ...]:
    """Landlock can only allow, so of a folder that has something hidden inside, the other entries are allowed.

    Unlike under bubblewrap, /proc and /dev are the machine's own, /tmp cannot be used, and `protected` has no effect.
    """
    hidden = [Path(os.path.realpath(place)) for place in sandbox.hidden]
    home = Path.home()
    allowed = [Path("/proc"), *_without(system(), [home, *hidden]), *_without(places, hidden)]
    allowed += _without(sandbox.readable, hidden)
    read = [f"read={os.path.realpath(place)}" for place in dict.fromkeys(allowed)]
    changed = (*map(Path, _DEVICES), scratch, *sandbox.writable)
    write = [f"write={os.path.realpath(place)}" for place in changed]
    network = ("network",) if sandbox.network else ()
    return ("landlock", *read, *write, *network, f"scratch={scratch}")


def _without(places: Iterable[Path], hidden: list[Path]) -> Iterator[Path]:
    for place in places:
        real = Path(os.path.realpath(place))
        if not any(one.is_relative_to(real) for one in hidden):
            yield real
        elif real not in hidden:
            yield from _without([inner for inner in real.iterdir() if not inner.is_symlink()], hidden)
