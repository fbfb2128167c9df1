"""What it takes to get over the death of one component: until a launched run starts, and until a failed one goes on."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import httpx
import psutil

from benchmarks.served import Served
from elexirion_dagster.execution.workers import WORKERS, warm, worker

COMPONENTS: Mapping[str, Callable[[list[str]], bool]] = {
    "web server": lambda words: any("dagster-webserver" in word or "web.server" in word for word in words),
    "daemon": lambda words: any("dagster-daemon" in word for word in words),
    "code server of elexirion_dagster": lambda words: "grpc" in words and "elexirion_dagster.definitions" in words,
    "code server of optimizer_assets": lambda words: "grpc" in words and "optimizer_assets.definitions" in words,
    "zygote": lambda words: "elexirion_dagster.execution.zygote" in words,
}
"""How the command line of each is known; that of a worker is its zygote's."""
_TRIES_S = 0.5


def kill(up: Served, component: str) -> bool:
    """SIGKILL to the component; False where there is none."""
    pids = at_work(up) if component == "worker" else set[int]()
    if component != "worker":
        workers = at_work(up)
        for one in up.processes():
            with suppress(psutil.Error):
                if one.pid not in workers and COMPONENTS[component](one.cmdline()):
                    pids.add(one.pid)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(pids)


def at_work(up: Served) -> set[int]:
    """The pids of the workers."""
    folder = up.home / "dagster" / WORKERS
    return {pid for run in warm(folder) if (pid := worker(folder, run))}


def launched(up: Served, job: str, within_s: float, **inputs: object) -> str:
    """The id of a new run, asked for until it is taken."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return up.launch(job, **inputs)
        except (AssertionError, OSError, ValueError, KeyError, TypeError, httpx.TransportError):
            if time.monotonic() > deadline:
                raise
        time.sleep(_TRIES_S)
