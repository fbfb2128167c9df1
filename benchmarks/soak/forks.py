"""Processes that share their imports: a fork of one warm interpreter starts in milliseconds."""

import os
import sys
import traceback
from collections.abc import Callable

import elexirion_dagster.providers.anthropic  # noqa: F401 - once, before the forks


def fork(work: Callable[[], object]) -> int:
    """Start `work` in a process of its own and return its pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:  # noqa: BLE001 - the end of this process, whatever it was
        traceback.print_exc()
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)


def ended(pid: int) -> int:
    """Wait for a fork; its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
