"""Nights over a large tree (the first, one with nothing to do, one touched file), and what partitions cost.

`python -m benchmarks.nightly --files 2000 --partitions 20000 100000` is the whole of it; without arguments it is small.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value

from benchmarks.machine import machine
from benchmarks.scan import tree
from elexirion_dagster.codebase.identity import partition_key
from elexirion_dagster.compiler.compile import compile_files
from elexirion_dagster.compiler.partitions import partition_set
from elexirion_dagster.definitions import write_report
from elexirion_dagster.execution.executor import thread_executor
from elexirion_dagster.operations.pipelines import scan_file
from elexirion_dagster.settings import Settings

_CHUNK = 10_000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=200, help="files of the tree")
    parser.add_argument("--partitions", type=int, nargs="*", default=[2000], help="sizes of partition sets")
    given = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as scratch:
        nights(Path(scratch), given.files)
    for size in given.partitions:
        with tempfile.TemporaryDirectory() as scratch:
            partitions(Path(scratch), size)


def nights(scratch: Path, files: int) -> None:
    """Three scans from the command line, then a touched file from the schedule's tick to its materialisation."""
    code = scratch / "code"
    count = copy(code, files)
    git(code, "init", "-q", "-b", "main")
    commit(code)
    print(f"{count} Python files")
    first, found = scan(code, scratch)
    print(f"first night   {first:6.1f} s  {found['files_scanned']} files scanned")
    second, found = scan(code, scratch)
    share = f"{100 * second / first:.0f} % of the first"
    print(f"second night  {second:6.1f} s  {found['files_scanned']} files scanned, {share}")
    touched = next(code.rglob("*.py"))
    touched.write_text(touched.read_text(encoding="utf-8", errors="replace") + "# touched\n", encoding="utf-8")
    third, found = scan(code, scratch)
    print(f"one touched   {third:6.1f} s  {found['files_scanned']} files scanned")
    tick(code, scratch, touched)


def tick(code: Path, scratch: Path, touched: Path) -> None:
    """What the daemon and a warm worker do, in this process, which has imported everything."""
    file = scratch / "nightly_scan.yaml"
    file.write_text(scan_file().read_text(encoding="utf-8").replace('default: "."', f'default: "{code}"'), "utf-8")
    settings = Settings(home=scratch / "home")
    defs = compile_files([file], settings, executor=thread_executor, finish=write_report)
    repository = defs.get_repository_def()
    schedule, job = repository.get_schedule_def("nightly_scan_schedule"), repository.get_job("nightly_scan")
    with dg.DagsterInstance.from_config(str(scratch / "home" / "dagster")) as instance:
        for round_ in range(2):  # the second with everything warm
            touched.write_text(touched.read_text(encoding="utf-8") + f"# {round_}\n", encoding="utf-8")
            commit(code)
            started = time.perf_counter()
            requests = schedule.evaluate_tick(dg.build_schedule_context(instance=instance)).run_requests or []
            planned = time.perf_counter() - started
            tags = {"elexirion/model": "none"}
            for one in requests:
                job.execute_in_process(run_config=one.run_config, instance=instance, tags={**one.tags, **tags})
            print(
                f"tick          {time.perf_counter() - started:6.1f} s to materialised, {planned:.1f} s of it planning"
            )


def partitions(scratch: Path, size: int) -> None:
    """Register so many files, materialise some, and ask what the asset's page asks."""
    keys = [partition_key("example.org/code", f"src/package_{number % 97}/file_{number}.py") for number in range(size)]
    key, definition = dg.AssetKey("bench_files"), partition_set("bench")
    with dg.instance_for_test(temp_dir=str(scratch)) as instance:

        def register() -> None:
            for start in range(0, size, _CHUNK):
                instance.add_dynamic_partitions("bench_files", keys[start : start + _CHUNK])

        def status() -> Any:
            return get_and_update_asset_status_cache_value(
                instance, key, definition, dynamic_partitions_loader=instance
            )

        figures = {
            "register": timed(register),
            "register again": timed(register),
            "list": timed(lambda: instance.get_dynamic_partitions("bench_files")),
            "has one": timed(lambda: instance.has_dynamic_partition("bench_files", keys[-1])),
            "materialise 100, one by one": timed(lambda: [event(instance, key, one) for one in keys[:100]]),
            "status": timed(status),
            "materialised": timed(lambda: instance.get_materialized_partitions(key)),
            "delete 100": timed(lambda: [instance.delete_dynamic_partition("bench_files", one) for one in keys[:100]]),
        }
    print(f"{size} partitions: " + ", ".join(f"{name} {seconds:.3f} s" for name, seconds in figures.items()))


def event(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=partition))


def timed(work: Callable[[], Any]) -> float:
    """Wall seconds of a call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def copy(folder: Path, wanted: int) -> int:
    """A tree of installed packages with about as many Python files."""
    if wanted >= 2000:
        return tree(folder)
    source = Path(dg.__file__).parent
    files = sorted(source.rglob("*.py"))[:wanted]
    for file in files:
        place = folder / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    return len(files)


def git(folder: Path, *words: str) -> None:
    command = ["git", "-c", "user.name=Bench", "-c", "user.email=bench@example.org", *words]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "some")


def scan(code: Path, scratch: Path) -> tuple[float, dict[str, Any]]:
    """Wall seconds of `elexirion scan`, and what it says."""
    command = [sys.executable, "-m", "elexirion_dagster.cli.main", "scan", str(code), "--no-model", "--json"]
    started = time.perf_counter()
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "ELEXIRION_HOME": str(scratch / "home")}
    )
    return time.perf_counter() - started, json.loads(done.stdout)


if __name__ == "__main__":
    main()
