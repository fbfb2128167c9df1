"""A command never has more than its limits, not even for the moment before they could be set."""

import os
import sys

import pytest

from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.sandbox.policy import Sandbox
from elexirion_dagster.shell import Limits, run

pytestmark = pytest.mark.slow

ROUNDS = 5
"""`benchmarks.soak.limits` does 50."""

ALLOCATE = "exec {python} -c 'b = bytearray(600_000_000); print(len(b))'"
FORK = """
import os, sys, time
made = 0
for _ in range(200):
    try:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        made += 1
    except BlockingIOError:
        break
print(made, flush=True)
"""


@pytest.fixture(params=["off", "auto"])
def sandbox(request, tmp_path):
    return Sandbox(request.param, writable=(tmp_path,))


def test_a_file_is_never_larger(tmp_path, sandbox):
    for _ in range(ROUNDS):
        run(
            ["sh", "-c", "head -c 3000000 /dev/zero > big"],
            cwd=tmp_path,
            timeout_s=60,
            limits=Limits(file_mb=1),
            sandbox=sandbox,
        )
        assert (tmp_path / "big").stat().st_size <= 1024 * 1024


def test_memory_is_bounded_through_a_shell_too(tmp_path, sandbox):
    for _ in range(ROUNDS):
        script = ALLOCATE.format(python=os.path.realpath(sys.executable))
        done = run(["sh", "-c", script], cwd=tmp_path, timeout_s=60, limits=Limits(memory_mb=500), sandbox=sandbox)
        assert (done.exit_code, done.stdout) == (1, "")
        assert "MemoryError" in done.stderr


RESERVE = "import mmap; mmap.mmap(-1, 10 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0); print('reserved')"


def test_address_space_that_is_only_reserved_is_no_memory(tmp_path, sandbox):
    """WebAssembly in node does this: `fetch` failed under a limit of the address space."""
    command = [os.path.realpath(sys.executable), "-c", RESERVE]
    done = run(command, cwd=tmp_path, timeout_s=60, limits=Limits(memory_mb=500), sandbox=sandbox)
    assert done.stdout == "reserved\n", done.stderr


def test_processor_time_is_bounded(tmp_path, sandbox):
    done = run(["sh", "-c", "while :; do :; done"], cwd=tmp_path, timeout_s=60, limits=Limits(cpu_s=1), sandbox=sandbox)
    assert done.exit_code in (-9, -24, 128 + 9, 128 + 24)


def test_there_are_never_more_processes(tmp_path, sandbox):
    """A kernel that lets us limit them refuses the fork; else the command is ended when there are too many."""
    for _ in range(ROUNDS):
        try:
            done = run(
                [sys.executable, "-c", FORK], cwd=tmp_path, timeout_s=60, limits=Limits(processes=50), sandbox=sandbox
            )
        except ElexirionError as error:
            assert "more than 50 processes" in error.message  # noqa: PT017 - one of two ways
        else:
            assert int(done.stdout) <= 50


def test_no_core_is_dumped(tmp_path, sandbox):
    run(["sh", "-c", "kill -SEGV $$"], cwd=tmp_path, timeout_s=60, sandbox=sandbox)
    assert os.listdir(tmp_path) == []  # noqa: PTH208


def test_a_fork_bomb_ends_with_its_deadline(tmp_path, sandbox):
    bomb = "bomb() { bomb | bomb & }; bomb; sleep 60"
    with pytest.raises(ElexirionError):
        run(["bash", "-c", bomb], cwd=tmp_path, timeout_s=1, limits=Limits(processes=100), sandbox=sandbox)
