"""Many processes use a new home at the same time: none is lost, and the home is in order afterwards.

`python -m benchmarks.soak.first_use [TRIALS] [PROCESSES]`
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import machine

HELLO = """
name: hello
inputs: {k: {type: integer, default: 0}}
steps: [{name: greet, type: command, run: [echo, hello]}]
"""
COMMANDS: Sequence[Sequence[str]] = (
    ("run", "hello.yaml"),
    ("scan", "code{number}"),  # one repository is scanned once at a time
    ("init",),
    ("doctor",),
    ("health",),
    ("run", "hello.yaml", "k=2"),
    ("outcomes",),
    ("run", "hello.yaml", "k=3"),
)
"""What a CI job, a hook and somebody who is curious start, one after the other; most of them are runs."""


def trial(folder: Path, processes: int, commands: Sequence[Sequence[str]]) -> list[str]:
    """Start so many processes on a new home at once; what those that failed said."""
    (folder / "hello.yaml").write_text(HELLO, encoding="utf-8")
    for number in range(processes):
        (folder / f"code{number}").mkdir()
        (folder / f"code{number}" / "a.py").write_text("eval(input())\n", encoding="utf-8")
    environ = {**os.environ, "ELEXIRION_HOME": str(folder / "home")}
    wanted = [[word.format(number=number) for word in commands[number % len(commands)]] for number in range(processes)]
    started = [(command, _start(folder, environ, command)) for command in wanted]
    lost = [f"{' '.join(command)}: {said}" for command, one in started if (said := _failure(one))]
    after = (("run", "hello.yaml"), ("doctor",), ("health",))
    return lost + [f"afterwards: {said}" for command in after if (said := _failure(_start(folder, environ, command)))]


def _start(folder: Path, environ: dict[str, str], command: Sequence[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "elexirion_dagster.cli.main", *command],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _failure(process: "subprocess.Popen[str]") -> str | None:
    """The last line of one that did not end well."""
    _, said = process.communicate()
    lines = said.strip().splitlines() or ["it said nothing"]
    return None if process.returncode == 0 else f"exit code {process.returncode}, {lines[-1]}"


def main(trials: int = 20, processes: int = 50) -> None:
    print(machine())
    lost: list[str] = []
    for number in range(1, trials + 1):
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as name:
            found = trial(Path(name), processes, COMMANDS[:1] if number % 2 else COMMANDS)
        lost += found
        print(f"trial {number}: {len(found)} of {processes} lost, {time.monotonic() - began:.0f} s", flush=True)
    for said, count in Counter(lost).most_common():
        print(f"{count} x {said}")
    print(f"{len(lost)} of {trials * processes} processes lost in {trials} trials")
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
