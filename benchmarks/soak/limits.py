"""Limits of commands, tried again and again: how often one was passed.

`python -m benchmarks.soak.limits [ROUNDS]`: so many rounds (50) of file size, memory through `sh`, processes and
processor time, with a sandbox and without; and what 100 commands cost. Ends with 1 when a limit was passed.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.machine import machine
from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.sandbox.isolation import available
from elexirion_dagster.sandbox.policy import Mode, Sandbox
from elexirion_dagster.shell import Completed, Limits, run

MODES: tuple[Mode, ...] = ("auto", "off")
PYTHON = os.path.realpath(sys.executable)
FORK = """
import os, time
made = 0
for _ in range(400):
    try:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        made += 1
    except BlockingIOError:
        break
print(made, flush=True)
"""


def file_size(start: Callable[..., Completed], folder: Path) -> bool:
    start("sh", "-c", "head -c 3000000 /dev/zero > big", limits=Limits(file_mb=1))
    return (folder / "big").stat().st_size > 1024 * 1024


def memory(start: Callable[..., Completed], _folder: Path) -> bool:
    script = f"exec {PYTHON} -c 'b = bytearray(600_000_000); print(len(b))'"
    return bool(start("sh", "-c", script, limits=Limits(memory_mb=500)).stdout)


def processes(start: Callable[..., Completed], _folder: Path) -> bool:
    try:
        made = start(PYTHON, "-c", FORK, limits=Limits(processes=64)).stdout
    except ElexirionError:
        return False  # it was ended
    return int(made) > 64


def processor_time(start: Callable[..., Completed], _folder: Path) -> bool:
    return start("sh", "-c", "while :; do :; done", limits=Limits(cpu_s=1)).exit_code == 0


def rounds(count: int, folder: Path) -> int:
    passed = 0
    for mode in MODES:
        sandbox = Sandbox(mode, writable=(folder,))

        def start(*words: str, limits: Limits, sandbox: Sandbox = sandbox) -> Completed:
            return run(words, cwd=folder, timeout_s=120, limits=limits, sandbox=sandbox)

        for limit, times in (
            (file_size, count),
            (memory, count),
            (processes, count),
            (processor_time, -(-count // 10)),
        ):
            over = sum(limit(start, folder) for _ in range(times))
            print(f"{limit.__name__}, sandbox {mode}: passed in {over} of {times}", flush=True)
            passed += over
    return passed


def cost(folder: Path) -> None:
    """Wall and processor time of a command that does nothing."""

    def of(name: str, go: Callable[[], object]) -> None:
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        for _ in range(100):
            go()
        wall_ms, after = (time.perf_counter() - begun) * 10, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_ms = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 10
        print(f"100 commands, {name}: {wall_ms:.1f} ms each, {cpu_ms:.1f} ms of processor time", flush=True)

    of("bare", lambda: subprocess.run(["/bin/true"], cwd=folder, check=True))
    of("without a sandbox", lambda: run(["true"], cwd=folder, timeout_s=60))
    sandbox = Sandbox(writable=(folder,))
    of(f"in {available().kind}", lambda: run(["true"], cwd=folder, timeout_s=60, sandbox=sandbox))


def main(count: int) -> int:
    print(machine())
    with tempfile.TemporaryDirectory(prefix="limits-") as name:
        cost(Path(name))
        return min(1, rounds(count, Path(name)))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50))
