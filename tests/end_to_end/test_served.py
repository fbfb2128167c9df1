"""The house of a benchmark."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow
BENCHMARK = """
import time
from benchmarks.served import served
with served({}) as one:
    print(one.process.pid, flush=True)
    time.sleep(600)
"""


def test_a_benchmark_that_is_told_to_end_ends_its_house(clean_environ):
    with subprocess.Popen(
        [sys.executable, "-c", BENCHMARK],
        cwd=Path(__file__).parents[2],
        env=clean_environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as benchmark:
        house = psutil.Process(int(benchmark.stdout.readline()))
        benchmark.terminate()
        benchmark.wait(60)
    assert not house.is_running()
