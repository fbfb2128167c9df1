"""The processes that a process started, and theirs; and how they all end."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator

_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.05
_STUCK_S = 10.0


def descendants(pid: int) -> Iterator[int]:
    """Every living descendant, nearest first. A child subreaper also has the orphans among them."""
    below = _children if os.path.exists(f"/proc/{pid}/task/{pid}/children") else _table().__getitem__  # noqa: PTH110
    waiting = [pid]
    while waiting:
        found = below(waiting.pop())
        yield from found
        waiting += found


def end_all(child: int, reap: Callable[[], bool]) -> None:
    """Kill all descendants until none is left; `reap` waits for the dead and says whether there are others.

    A process that the kernel cannot end (a hung disk) is not waited for longer than some seconds.
    """
    if not os.path.isdir("/proc/self/task"):  # noqa: PTH112 - no Linux: what left the process group is not found
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)
    pause_s, stuck = _PAUSE_S, time.monotonic() + _STUCK_S
    while True:
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not reap() or time.monotonic() > stuck:
            return
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - pathlib takes 5 ms to import
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:  # noqa: PTH123
                found += [int(word) for word in file.read().split()]
    return found


def _table() -> "_Table":
    """Children by their parent, for a kernel that does not list them."""
    table = _Table()
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):  # noqa: PTH208
            with contextlib.suppress(OSError, ValueError), open(f"/proc/{int(name)}/stat", encoding="utf-8") as file:  # noqa: PTH123
                parent = int(file.read().rpartition(")")[2].split()[1])
                table.setdefault(parent, []).append(int(name))
    return table


class _Table(dict[int, list[int]]):
    """A parent without children has an empty list of them."""

    def __missing__(self, _parent: int) -> list[int]:
        return []
