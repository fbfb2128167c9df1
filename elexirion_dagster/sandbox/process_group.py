"""A control group that limits how many processes a command has. RLIMIT_NPROC does not hold for root; this does.

Only version 1 of the kernel's interface is used. Where it is not there or cannot be written, `limited` is False.
"""

import os

_ROOT = "/sys/fs/cgroup/pids"


class ProcessGroup:
    """A group of its own for one command."""

    def __init__(self, most: int) -> None:
        self._folder = ""
        try:
            self._folder = f"{_ROOT}{_own()}/elexirion-{os.getpid()}"
            os.mkdir(self._folder)  # noqa: PTH102 - pathlib takes 5 ms to import
            _write(f"{self._folder}/pids.max", str(most))
        except OSError:
            self.limited = False
        else:
            self.limited = True

    def enter(self) -> None:
        """Move the calling process, and with it what it will start, into the group."""
        if self.limited:
            _write(f"{self._folder}/cgroup.procs", "0")

    def remove(self) -> None:
        """Remove the empty group."""
        if self.limited:
            try:
                os.rmdir(self._folder)  # noqa: PTH106
            except OSError:  # a process that the kernel cannot end is still in it
                return


def _own() -> str:
    """The group of the calling process, as a path below the root of the hierarchy."""
    with open("/proc/self/cgroup", encoding="utf-8") as file:  # noqa: PTH123
        for line in file:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            if "pids" in controllers.split(","):
                return path.rstrip("/")
    return ""


def _write(file: str, text: str) -> None:
    with open(file, "w", encoding="ascii") as opened:  # noqa: PTH123
        opened.write(text)
