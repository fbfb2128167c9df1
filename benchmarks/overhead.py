"""Overhead of a for_each with one llm step per item, beside a plain thread pool over the same fake model.

`python -m benchmarks.overhead [ITEMS …]` prints CPU per item, memory per item beyond its text, and the ratio.
"""

import gc
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.machine import machine
from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.prompting.render import build_request
from elexirion_dagster.providers.fake import FakeProvider
from elexirion_dagster.run import Run, RunInfo
from elexirion_dagster.settings import Settings

SIZES = (100, 1_000, 10_000)
REPEATS = 3
PARALLEL = 8
PIPELINE = f"""
name: overhead
inputs: {{texts: {{type: list}}}}
model: fake
steps:
  - name: each
    type: for_each
    items: "{{{{ inputs.texts }}}}"
    max_parallel: {PARALLEL}
    steps:
      - {{name: ask, type: llm, prompt: "Say something about {{{{ item }}}}"}}
"""


def texts(count: int) -> list[str]:
    """Short texts, each different."""
    return [f"item number {index} of a list of things" for index in range(count)]


def ours(count: int) -> Callable[[], object]:
    """A whole run, opened and warmed up; calling it does the fan-out."""
    pipeline = load_string(PIPELINE).pipeline
    home = Path(tempfile.mkdtemp(prefix="overhead-"))
    run = Run(pipeline, RunInfo("r", "r", {"texts": texts(count)}, {}, "benchmark"), Settings(home=home))
    return lambda: run.step(pipeline.steps[0], {})


def plain(count: int) -> Callable[[], object]:
    """The same prompts in a thread pool over the same fake model; replies kept."""
    provider, asked = FakeProvider(), texts(count)

    def ask(text: str) -> str:
        request = build_request(model="fake", user=f"Say something about {text}")
        return provider.send(request, timeout_s=60).text

    def fan_out() -> list[str]:
        with ThreadPoolExecutor(PARALLEL) as pool:
            return list(pool.map(ask, asked))

    return fan_out


def measure(kind: str, count: int) -> dict[str, float]:
    """CPU milliseconds and kB of memory per item, in this process."""
    work = (ours if kind == "ours" else plain)(count)
    gc.collect()
    before_kb, before_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    kept = work()
    cpu_s = time.process_time() - before_s
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    text_kb = sum(map(len, texts(count))) / 1024
    assert kept
    return {"cpu_ms": cpu_s * 1000 / count, "kb": max(grown_kb - text_kb, 0) / count}


def in_process_of_its_own(kind: str, count: int) -> dict[str, float]:
    """The best of some repeats, each in a fresh process, so that no run profits from an earlier one."""
    command = [sys.executable, "-m", "benchmarks.overhead", "--measure", kind, str(count)]
    measured = [json.loads(subprocess.check_output(command)) for _ in range(REPEATS)]
    return min(measured, key=lambda one: one["cpu_ms"])


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--measure"]:
        print(json.dumps(measure(arguments[1], int(arguments[2]))))
        return
    print(machine())
    print(f"{'items':>7} {'ours ms':>9} {'kB':>6} {'pool ms':>9} {'kB':>6} {'ratio':>7}   (CPU and memory per item)")
    for count in map(int, arguments or SIZES):
        mine, peer = in_process_of_its_own("ours", count), in_process_of_its_own("pool", count)
        columns = f"{mine['cpu_ms']:>9.3f} {mine['kb']:>6.1f} {peer['cpu_ms']:>9.3f} {peer['kb']:>6.1f}"
        print(f"{count:>7} {columns} {mine['cpu_ms'] / peer['cpu_ms']:>7.1f}")


if __name__ == "__main__":
    main(sys.argv[1:])
