"""Starts runs in warm workers: processes forked from one that has everything imported already."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import dagster as dg
from dagster import DefaultRunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClassData

from elexirion_dagster.execution.workers import known, last_lines, stop, worker
from elexirion_dagster.execution.zygote import CHANGED, SOCKET, WORKERS, command

_READY_S = 60.0
_ANSWER_S = 20.0
_LOOK_S = 0.05
_ATTEMPTS = 3


class NoWorkerError(Exception):
    """A worker could not be forked; says why."""


class WarmRunLauncher(DefaultRunLauncher):
    """A run's worker is forked from a process that has imported Dagster and this package.

    Where that cannot be (another interpreter, no safe fork, no zygote), Dagster's default launcher starts the run, and
    the run's log says why.
    """

    def __init__(self, inst_data: ConfigurableClassData | None = None, preload: Sequence[str] = ()) -> None:
        super().__init__(inst_data)
        self._preload = tuple(preload)
        self._starting = threading.Lock()
        self._zygote: subprocess.Popen[bytes] | None = None

    @classmethod
    def config_type(cls) -> dict[str, dg.Field]:
        """`preload`: modules that workers find imported already."""
        return {"preload": dg.Field([str], is_required=False, default_value=[])}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        """As the instance's YAML says."""
        return cls(inst_data, **config_value)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Fork a worker for the run, or start it as Dagster does by default."""
        run = context.dagster_run
        try:
            pid = self._fork(run)
        except NoWorkerError as why:
            message = f"started by Dagster's default launcher, not by a warm worker: {why}"
            self._instance.report_engine_event(message, run, cls=self.__class__)
            super().launch_run(context)
        else:
            self._instance.report_engine_event(f"forked the warm worker {pid}", run, cls=self.__class__)
            self._run_ids.add(run.run_id)

    def terminate(self, run_id: str) -> bool:
        """Ask the run's worker to end, and kill it after a while; False when nobody works on it any more."""
        run = self._instance.get_run_by_id(run_id) if self.has_instance else None
        if run is None or run.is_finished:
            return False
        if not known(self._workers, run_id):
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        self._instance.report_run_canceling(run)
        if stop(self._workers, run_id) is not None:
            return True
        self._instance.report_run_canceled(run, "nobody worked on this run any more")
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Dagster's run monitoring may ask."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether a process works on the run."""
        if not known(self._workers, run.run_id):
            return CheckRunHealthResult(WorkerStatus.RUNNING, "not started by a warm worker")
        pid = worker(self._workers, run.run_id)
        if pid is not None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, run_worker_id=str(pid))
        return CheckRunHealthResult(WorkerStatus.FAILED, "its worker ended without a word")

    def get_run_worker_debug_info(self, run: dg.DagsterRun, include_container_logs: bool | None = True) -> str | None:  # noqa: FBT001, FBT002 - Dagster's signature
        """The last lines that the worker printed."""
        del include_container_logs
        return last_lines(self._workers, run.run_id) or None

    @property
    def _folder(self) -> Path:
        return Path(self._instance.root_directory)

    @property
    def _workers(self) -> Path:
        return self._folder / WORKERS

    def _fork(self, run: dg.DagsterRun) -> int:
        """The pid of a new worker for the run. Raises NoWorkerError."""
        origin = run.job_code_origin
        if sys.platform != "linux":
            raise NoWorkerError(f"forking is not safe on {sys.platform}")
        if origin is None:
            raise NoWorkerError("the run does not say which code it is of")
        if origin.executable_path != sys.executable:
            raise NoWorkerError(f"its code belongs to another interpreter, {origin.executable_path}")
        args = ExecuteRunArgs(job_origin=origin, run_id=run.run_id, instance_ref=self._instance.get_ref())
        request = {
            "run": run.run_id,
            "args": args.get_command_args()[-1],
            "cwd": str(Path.cwd()),
            "environ": dict(os.environ),
        }
        reason = ""
        for _ in range(_ATTEMPTS):
            try:
                answer = self._ask(request)
            except (OSError, ValueError) as error:
                answer = {"error": f"the zygote did not answer: {error}"}
            if "pid" in answer:
                return int(answer["pid"])
            if (pid := worker(self._workers, run.run_id)) is not None:  # forked, and the answer was lost
                return pid
            reason = str(answer.get("error"))
            if reason != CHANGED:
                time.sleep(_LOOK_S)
        raise NoWorkerError(reason)

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        with self._connected() as connection:
            connection.settimeout(_ANSWER_S)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as reading:
                answer: dict[str, Any] = json.loads(reading.readline() or b"null") or {"error": "it ended"}
                return answer

    def _connected(self) -> socket.socket:
        """A connection to the zygote, which is started if it is not there."""
        deadline = time.monotonic() + _READY_S
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(self._socket())
            except OSError as error:
                connection.close()
                if time.monotonic() > deadline:
                    raise NoWorkerError(f"the zygote cannot be reached: {error}") from error
            else:
                return connection
            self._start()
            time.sleep(_LOOK_S)

    def _socket(self) -> str:
        """The socket's path, through a descriptor of its folder: paths of sockets are short."""
        if not hasattr(self, "_folder_descriptor"):
            self._folder_descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._folder_descriptor}/{SOCKET}"

    def _start(self) -> None:
        """Start a zygote unless one that this process started is there. Raises NoWorkerError when it gave up."""
        with self._starting:
            if self._zygote is not None and self._zygote.poll() is None:
                return
            if self._zygote is not None and self._zygote.returncode > 0:  # it gave up; others were ended, or are done
                code, self._zygote = self._zygote.returncode, None
                raise NoWorkerError(f"the zygote ended with exit code {code}: {self._last_words()}")
            with (self._folder / "zygote.log").open("wb") as log:
                self._zygote = subprocess.Popen(
                    command(self._folder, self._preload),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )

    def _last_words(self) -> str:
        text = (self._folder / "zygote.log").read_text(encoding="utf-8", errors="replace").strip()
        return text.splitlines()[-1] if text else "it said nothing"
