"""What the light commands cost: CPU of `elexirion --help` and `check` on ten files beside `python -c pass`."""

import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.machine import machine

RUNS = 9
HEAVY = ("dagster", "dspy", "duckdb", "anthropic", "litellm", "openai", "httpx")
PIPELINE = """\
name: p{number}
inputs: {{repo: {{type: path, default: "."}}}}
steps:
  - {{name: listed, type: files, list: {{root: "{{{{ inputs.repo }}}}"}}}}
  - name: each
    type: for_each
    items: "{{{{ steps.listed.data.files }}}}"
    as: file
    steps:
      - {{name: look, type: llm, prompt: "{{{{ file.path }}}}: {{{{ file.text }}}}", output: {{ok: boolean}}}}
"""


MODULES = ("dagster", "optimizer_assets.definitions", "elexirion_dagster.definitions")
"""What the code locations add to Dagster's own import."""


def imported(module: str) -> list[str]:
    return [sys.executable, "-c", f"import {module}"]


def cpu_s(command: list[str]) -> float:
    """User and system seconds of one command, children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def heavy_imports(arguments: list[str]) -> list[str]:
    """Which heavy packages the command has imported when it ends."""
    code = (
        "import sys, io, contextlib\n"
        "from elexirion_dagster.cli.main import cli\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    try: cli(sys.argv[1:], standalone_mode=False)\n"
        "    except SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    return list(eval(done.stdout.strip().splitlines()[-1]))  # noqa: S307 - printed by the line above


def main() -> None:
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"p{number}.yaml" for number in range(10)]
        for number, file in enumerate(files):
            file.write_text(PIPELINE.format(number=number))
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "elexirion --help": [sys.executable, "-m", "elexirion_dagster.cli.main", "--help"],
            "elexirion check (10 files)": [
                sys.executable,
                "-m",
                "elexirion_dagster.cli.main",
                "check",
                *map(str, files),
            ],
        }
        medians = {name: statistics.median(cpu_s(command) for _ in range(RUNS)) for name, command in commands.items()}
        bare = medians["python -c pass"]
        for name, seconds in medians.items():
            print(f"{name:28} {seconds * 1000:7.0f} ms CPU   {seconds / bare:5.1f} x bare")
        for arguments in (["--help"], ["check", *map(str, files)]):
            print(f"heavy imports of {arguments[0]}: {heavy_imports(arguments) or 'none'}")
    imports = {name: statistics.median(cpu_s(imported(name)) for _ in range(RUNS)) for name in MODULES}
    base = imports[MODULES[0]]
    for name, seconds in imports.items():
        print(f"import {name:30} {seconds * 1000:7.0f} ms CPU   {(seconds - base) * 1000:+5.0f} ms")


if __name__ == "__main__":
    main()
