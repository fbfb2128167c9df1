"""A running `elexirion up` for the benchmarks, on our instance settings or on Dagster's defaults."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import psutil

STOCK = "telemetry: {enabled: false}\n"
"""The instance of somebody who set nothing."""
REPOSITORY = Path(__file__).parents[1]
_READY_S = 180
_LAUNCH = """
mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename
  ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""
_RUNS = """
{ runsOrError(limit: 1000) { ... on Runs { results { runId pipelineName status startTime endTime
  stepStats { startTime endTime } } } } }
"""
_LOADED = "{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus } } } }"


@dataclass(frozen=True)
class Served:
    """One `elexirion up`: its process, web server and home."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path
    environ: Mapping[str, str]
    location: str = "elexirion_dagster"

    @property
    def home(self) -> Path:
        """$ELEXIRION_HOME."""
        return self.folder / "home"

    def ask(self, query: str, **variables: Any) -> Any:
        """The data of a GraphQL query."""
        body = {"query": query, "variables": variables}
        answer = httpx.post(f"http://127.0.0.1:{self.port}/graphql", json=body, timeout=300, trust_env=False).json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def launch(self, job: str, **inputs: Any) -> str:
        """The id of a new run."""
        names = ("repositoryLocationName", "repositoryName", "pipelineName")
        selector = dict(zip(names, (self.location, "__repository__", job), strict=True))
        params = {"selector": selector, "runConfigData": json.dumps(inputs), "mode": "default"}
        answer = self.ask(_LAUNCH, params=params)["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def runs(self) -> dict[str, dict[str, Any]]:
        """All runs by id."""
        return {run["runId"]: run for run in self.ask(_RUNS)["runsOrError"]["results"]}

    def until(self, ids: Sequence[str], statuses: Sequence[str], within_s: float) -> dict[str, dict[str, Any]]:
        """These runs once all have one of the statuses, or when the time is over."""
        deadline = time.monotonic() + within_s
        while True:
            found = {run: row for run, row in self.runs().items() if run in ids}
            if all(row["status"] in statuses for row in found.values()) or time.monotonic() > deadline:
                return found
            time.sleep(1)

    def processes(self) -> list[psutil.Process]:
        """`elexirion up`, what it started, and the workers of runs, whoever is their parent by now."""
        mine = str(self.home)
        with_us = []
        for one in psutil.process_iter():
            with suppress(psutil.Error):
                if one.environ().get("ELEXIRION_HOME") == mine:
                    with_us.append(one)
        return with_us

    def cpu_s(self) -> float:
        """CPU seconds of all of them so far, of those that ended and were waited for too."""
        total = 0.0
        for one in self.processes():
            with suppress(psutil.Error):
                times = one.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total

    def pss_mb(self) -> float:
        """Memory of all of them together; what several share counts once."""
        total = 0.0
        for one in self.processes():
            with suppress(psutil.Error):
                total += one.memory_full_info().pss
        return total / 1e6


@contextmanager
def served(
    pipelines: Mapping[str, str], *, settings: str | None = None, environ: Mapping[str, str] = {}
) -> Iterator[Served]:
    """Start it in a folder with these pipelines; ready once both locations have loaded."""
    with tempfile.TemporaryDirectory(prefix="served-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "pipelines_yaml").mkdir()
        for stem, text in pipelines.items():
            (folder / "pipelines_yaml" / f"{stem}.yaml").write_text(text, encoding="utf-8")
        (folder / "home" / "dagster").mkdir(parents=True)
        if settings is not None:
            (folder / "home" / "dagster" / "dagster.yaml").write_text(settings, encoding="utf-8")
        environ = {**os.environ, "ELEXIRION_HOME": str(folder / "home"), "PYTHONPATH": str(REPOSITORY), **environ}
        port = _free_port()
        with (folder / "up.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "elexirion_dagster.cli.main", "up", "--port", str(port)],
                cwd=folder,
                env=environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        one = Served(process, port, folder, environ)
        before = signal.signal(signal.SIGTERM, _interrupt)  # `timeout` ends a benchmark so, and its house with it
        try:
            _wait(one)
            yield one
        except BaseException:
            print((folder / "up.log").read_text(encoding="utf-8", errors="replace")[-3000:], file=sys.stderr)
            raise
        finally:
            process.terminate()  # a benchmark in a script's background has processes that ignore SIGINT
            process.wait(120)
            signal.signal(signal.SIGTERM, before)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _wait(one: Served) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and one.process.poll() is None:
        with suppress(httpx.TransportError):
            entries = one.ask(_LOADED)["workspaceOrError"]["locationEntries"]
            if entries and all(entry["loadStatus"] == "LOADED" for entry in entries):
                return
        time.sleep(0.3)
    raise TimeoutError("it did not become ready")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
