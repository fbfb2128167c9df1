"""The processes that a process started, and theirs; and how they all end."""

import os
import time

_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.05
_STUCK_S = 10.0
_SIGKILL = 9


def descendants(pid: int) -> list[int]:
    """Every living descendant. A child subreaper also has the orphans among them."""
    listed = os.path.exists(f"/proc/{pid}/task/{pid}/children")  # noqa: PTH110 - pathlib takes 5 ms to import
    table = None if listed else _table()
    found = [pid]
    for one in found:
        found += _children(one) if table is None else table.get(one, [])
    return found[1:]


def tell(pids: list[int], number: int) -> None:
    """Send a signal to those that are still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def reap(child: int) -> tuple[bool, int | None]:
    """Take note of children that ended: whether there are others, and the wait status of `child` if it was one."""
    status: int | None = None
    try:
        while True:
            pid, how = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return True, status
            if pid == child:
                status = how
    except ChildProcessError:
        return False, status


def end_all(child: int) -> int | None:
    """Kill all descendants until none is left; the wait status of `child` if it ended in here.

    A process that the kernel cannot end (a hung disk) is not waited for longer than some seconds.
    """
    if not os.path.isdir("/proc/self/task"):  # noqa: PTH112 - no Linux: what left the process group is not found
        tell([-child], _SIGKILL)
    pause_s, stuck = _PAUSE_S, time.monotonic() + _STUCK_S
    ended: int | None = None
    while True:
        tell(descendants(os.getpid()), _SIGKILL)
        others, status = reap(child)
        ended = ended if status is None else status
        if not others or time.monotonic() > stuck:
            return ended
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - pathlib takes 5 ms to import
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:  # noqa: PTH123
                found += [int(word) for word in file.read().split()]
    except OSError:  # it ended meanwhile
        return found
    return found


def _table() -> dict[int, list[int]]:
    """Children by their parent, for a kernel that does not list them."""
    table: dict[int, list[int]] = {}
    names = os.listdir("/proc") if os.path.isdir("/proc") else []  # noqa: PTH112, PTH208
    for name in filter(str.isdigit, names):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8") as file:  # noqa: PTH123
                parent = int(file.read().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        table.setdefault(parent, []).append(int(name))
    return table
