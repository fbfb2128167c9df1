"""The embedded model learns the shipped labelled set: the held out rows before and after, calls, seconds; rendering."""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import platformdirs

from benchmarks.machine import machine
from elexirion_dagster.prompting.render import build_request, example_of
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.registry.prompts import hashes, read

SLOT = ("report_version", "read")
ROUNDS = 2_000
CACHED = platformdirs.user_cache_path("elexirion") / "tests" / "cache" / "models" / "smollm2-135m.gguf"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--home", type=Path, help="go on in this home, and pay nothing twice")
    given = options.parse_args()
    print(machine(), f"load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        home = given.home or Path(folder)
        models = home / "cache" / "models"
        models.mkdir(parents=True, exist_ok=True)
        if not (models / "smollm2-135m.gguf").exists():
            shutil.copy(os.environ.get("ELEXIRION_TEST_GGUF") or CACHED, models / "smollm2-135m.gguf")
        learned(home)
        rendered(home)


def learned(home: Path) -> None:
    """One optimisation through the command line; its figures are those of the gate."""
    command = [sys.executable, "-m", "elexirion_dagster.cli.main", "optimize", "/".join(SLOT), "--json"]
    started = time.perf_counter()
    run = subprocess.run(
        command, env={**os.environ, "ELEXIRION_HOME": str(home)}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    events = [json.loads(line) for line in run.stdout.splitlines()]
    print(f"rows: {events[0]['parts']}")
    for event in events:
        if event["event"] == "iteration":
            print(f"  {event['how']:13} {event['examples']:3} examples  validation {event['validation']:.1%}")
    ended = events[-1]
    gate = ended["gate"]
    low, high = gate["interval"]
    print(
        f"held out: {ended['base']['quality']:.1%} before, {ended['new']['quality']:.1%} after on {gate['n']} rows,"
        f" change between {low:+.1%} and {high:+.1%}, p {gate['p_value']:.2g} at alpha {gate['alpha']:.2g}:"
        f" {ended['outcome']}"
    )
    print(f"{ended['calls']} calls, {ended['replayed']} replayed, {time.perf_counter() - started:.0f} s")


def rendered(home: Path) -> None:
    """Milliseconds from a version in the registry to a whole request, the file's check included."""
    opened = open_home(home)
    for version in hashes(opened, *SLOT):
        times = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            found = read(opened, *SLOT, version)
            shown = [example_of(one["prompt"], one["answer"]) for one in found.examples]
            build_request(model="m", user="Since 2.4.1 nothing works.", system=found.system, examples=shown)
            times.append(time.perf_counter() - started)
        print(f"rendering version {version}: {statistics.median(times) * 1000:.3f} ms (median of {ROUNDS})")


if __name__ == "__main__":
    main()
