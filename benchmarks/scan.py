"""`elexirion scan` of a large tree, whole, beside the same analyzers started by hand at the same time."""

import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from benchmarks.machine import machine
from elexirion_dagster.codebase.analyzers.catalog import ANALYZERS
from elexirion_dagster.codebase.executables import find

MIN_FILES = 2000
ROUNDS = 3


def main() -> None:
    print(machine())
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "tree"
        print(f"{tree(folder)} Python files")
        pairs = [(scan_s(folder, Path(scratch) / f"home{number}"), bare_s(folder)) for number in range(ROUNDS)]
    for ours, bare in pairs:
        print(f"elexirion scan {ours:6.1f} s   analyzers by hand {bare:6.1f} s   ratio {ours / bare:4.2f}")
    print(f"median ratio {statistics.median(ours / bare for ours, bare in pairs):4.2f} (goal: at most 1.3)")


def tree(folder: Path) -> int:
    """Copy installed packages until there are enough Python files; returns how many there are."""
    count = 0
    packages = (path for path in Path(sysconfig.get_path("purelib")).iterdir() if path.is_dir())
    for package in sorted(packages, key=lambda path: path.name):
        if count >= MIN_FILES:
            break
        if files := list(package.rglob("*.py")):
            shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
            count += len(files)
    return count


def scan_s(folder: Path, home: Path) -> float:
    """Wall seconds of the command, from start to exit."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "elexirion_dagster.cli.main", "scan", str(folder), "--no-model"]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "ELEXIRION_HOME": str(home)})
    return time.perf_counter() - started


def bare_s(folder: Path) -> float:
    """Wall seconds until the last of the analyzers, started together with the same options, has ended."""
    scratch = Path(tempfile.mkdtemp())
    commands = [tool.command(str(find(name)), [str(folder)], scratch) for name, tool in ANALYZERS.items()]
    commands = [
        [one[0], "-r", *one[1:]] if "bandit" in one[0] else one for one in commands
    ]  # bandit skips folders else
    started = time.perf_counter()
    with tempfile.TemporaryFile() as sink:
        running = [subprocess.Popen(command, stdout=sink, stderr=sink, cwd=folder) for command in commands]
        for process in running:
            process.wait()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
