"""Starts runs in warm workers: processes forked from one that has everything imported already."""

import filecmp
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
import psutil
from dagster import DefaultRunLauncher
from dagster._core.events import DagsterEventType
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._core.origin import JobPythonOrigin
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClassData

from elexirion_dagster.execution.workers import (
    WORKERS,
    claimed,
    end,
    end_left_behind,
    is_launching,
    last_lines,
    launching,
    leave,
    worker,
)
from elexirion_dagster.execution.zygote import CHANGED, SOCKET, command
from elexirion_dagster.tags import RECOVERY_TAG

_LAUNCH_S = 120.0
"""How long a launch may take in all. A launch under way holds a lock, so nobody else needs to know this bound."""
_NICE, _NICER = 5, 10
"""How far workers stand back behind the programs that start and watch runs: those of recoveries less than others."""
_ANSWER_S = 20.0
_LOOK_S = 0.05
_ATTEMPTS = 3
_GIVEN_UP_S = 30.0
_ABANDONED_S = 15.0
"""From the moment a run is marked as starting to the first look at whether somebody is launching it."""
_FIRST_EVENTS = 50
_CLOCKS_S = 2.0
"""How far the kernel's and the log's idea of a moment may be apart."""


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
        self._given_up: tuple[float, str] | None = None

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
        with launching(self._workers, run.run_id):
            self._launch(run, context)

    def _launch(self, run: dg.DagsterRun, context: LaunchRunContext) -> None:
        try:
            pid = self._fork(run, time.monotonic() + _LAUNCH_S)
        except NoWorkerError as why:
            if not leave(self._workers, run.run_id):
                return  # a worker has it, only the word of it was lost
            message = f"started by Dagster's default launcher, not by a warm worker: {why}"
            self._instance.report_engine_event(message, run, cls=self.__class__)
            super().launch_run(context)
        else:
            if pid is not None:
                self._instance.report_engine_event(f"forked the warm worker {pid}", run, cls=self.__class__)

    def terminate(self, run_id: str) -> bool:
        """Ask the run's worker to end, and kill it after a while; False when the run has ended already."""
        run = self._instance.get_run_by_id(run_id) if self.has_instance else None
        if run is None or run.is_finished:
            return False
        if claimed(self._workers, run_id) in (None, "elsewhere"):
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        self._instance.report_run_canceling(run)
        threading.Thread(target=self._end, args=(run_id,), name="elexirion-end", daemon=True).start()
        return True

    def _end(self, run_id: str) -> None:
        """End the run's worker; what it could not say any more is said for it."""
        end(self._workers, [run_id])
        run = self._instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            self._instance.report_run_canceled(run, "its worker ended unexpectedly")

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Dagster's run monitoring may ask."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether a process works on the run; one that is about to be started counts as running."""
        pid, kind = worker(self._workers, run.run_id), claimed(self._workers, run.run_id)
        if kind is None and self._was_abandoned(run) and leave(self._workers, run.run_id):
            return CheckRunHealthResult(WorkerStatus.FAILED, "what was about to start it is gone")
        if pid is None and kind in (None, "elsewhere"):
            return self._health_of_others(run)
        if pid is None:
            end_left_behind(run.run_id)
            return CheckRunHealthResult(WorkerStatus.FAILED, "its worker ended unexpectedly")
        return CheckRunHealthResult(WorkerStatus.RUNNING, run_worker_id=str(pid))

    def left_behind(self, run: dg.DagsterRun) -> bool:
        """Whether no process works on a run that was started, or will; asked when nothing here starts any more.

        A run of the user's own terminal is never left behind: `elexirion resume` goes on with it.
        """
        match claimed(self._workers, run.run_id):
            case "warm":
                return worker(self._workers, run.run_id) is None
            case "elsewhere":
                return self._health_of_others(run).status is WorkerStatus.FAILED
            case None if run.status is dg.DagsterRunStatus.STARTING and not is_launching(self._workers, run.run_id):
                return leave(self._workers, run.run_id)
        return False

    def _was_abandoned(self, run: dg.DagsterRun) -> bool:
        """Whether the process that took the run from the queue died before it had a worker for it."""
        if run.status is not dg.DagsterRunStatus.STARTING or is_launching(self._workers, run.run_id):
            return False
        taken = self._instance.get_run_stats(run.run_id).launch_time
        return taken is not None and time.time() - taken > _ABANDONED_S

    def _health_of_others(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the process that the run's log names still is: a code server that was killed cannot tell any more."""
        records = self._instance.get_records_for_run(
            run.run_id, of_type=DagsterEventType.ENGINE_EVENT, limit=_FIRST_EVENTS, ascending=True
        ).records
        for entry in (record.event_log_entry for record in records):
            told = entry.dagster_event.engine_event_data.metadata.get("pid") if entry.dagster_event else None
            if told is not None:  # the first one is the run's, further ones may be of its steps
                if _is_process(int(str(told.value)), entry.timestamp):
                    break
                return CheckRunHealthResult(WorkerStatus.FAILED, f"its process {told.value} is gone")
        return CheckRunHealthResult(WorkerStatus.RUNNING, "not started by a warm worker")

    def get_run_worker_debug_info(self, run: dg.DagsterRun, include_container_logs: bool | None = True) -> str | None:  # noqa: FBT001, FBT002 - Dagster's signature
        """The last lines that the worker printed."""
        del include_container_logs
        return last_lines(self._workers, run.run_id) or None

    def dispose(self) -> None:
        """End the zygote that was started here; its workers go on."""
        with self._starting:
            if self._zygote is not None:
                self._zygote.terminate()
                self._zygote.wait()

    @property
    def _folder(self) -> Path:
        return Path(self._instance.root_directory)

    @property
    def _workers(self) -> Path:
        return self._folder / WORKERS

    def _fork(self, run: dg.DagsterRun, deadline: float) -> int | None:
        """The pid of a new worker for the run. Raises NoWorkerError."""
        origin = run.job_code_origin
        if sys.platform != "linux":
            raise NoWorkerError(f"forking is not safe on {sys.platform}")
        if origin is None:
            raise NoWorkerError("the run does not say which code it is of")
        if not is_same_interpreter(origin.executable_path, sys.executable):
            raise NoWorkerError(f"its code belongs to another interpreter, {origin.executable_path}")
        args = ExecuteRunArgs(job_origin=origin, run_id=run.run_id, instance_ref=self._instance.get_ref())
        order = {
            "run": run.run_id,
            "job": run.job_name,
            "args": args.get_command_args()[-1],
            "cwd": folder_of(origin),
            "environ": dict(os.environ),
            "nice": _NICE if RECOVERY_TAG in run.tags else _NICER,
        }
        answer: dict[str, Any] = {}
        for _ in range(_ATTEMPTS):
            try:
                answer = self._ask(order, deadline)
            except (OSError, ValueError) as error:
                answer = {"error": f"the zygote did not answer: {error}"}
            if "pid" in answer:
                return answer["pid"]  # type: ignore[no-any-return]
            if time.monotonic() > deadline:
                break
            if answer["error"] != CHANGED:
                time.sleep(_LOOK_S)
        raise NoWorkerError(answer["error"])

    def _ask(self, order: Mapping[str, Any], deadline: float) -> dict[str, Any]:
        with self._connected(deadline) as connection:
            connection.settimeout(max(_LOOK_S, min(_ANSWER_S, deadline - time.monotonic())))
            connection.sendall(json.dumps(order).encode() + b"\n")
            with connection.makefile("rb") as reading:
                answer: dict[str, Any] = json.loads(reading.readline() or b'{"error": "it ended without an answer"}')
                return answer

    def _connected(self, deadline: float) -> socket.socket:
        """A connection to the zygote, which is started if it is not there."""
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                _connect(connection, self._folder)
            except OSError as error:
                connection.close()
                if time.monotonic() > deadline:
                    raise NoWorkerError(f"the zygote cannot be reached: {error}") from error
            else:
                return connection
            self._start()
            time.sleep(_LOOK_S)

    def _start(self) -> None:
        """Start a zygote unless one that this process started is there. Raises NoWorkerError when it gave up."""
        with self._starting:
            if self._zygote is not None and (code := self._zygote.poll()) is None:
                return
            if self._zygote is not None and code:
                self._zygote = None
                if code > 0:  # it gave up by itself; others were killed
                    self._given_up = time.monotonic(), f"the zygote ended with exit code {code}: {self._last_words()}"
            if self._given_up is not None and time.monotonic() < self._given_up[0] + _GIVEN_UP_S:
                raise NoWorkerError(self._given_up[1])
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


def _connect(connection: socket.socket, folder: Path) -> None:
    """Connect through a descriptor of the socket's folder: paths of sockets are short."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{descriptor}/{SOCKET}")
    finally:
        os.close(descriptor)


def is_same_interpreter(one: str, other: str) -> bool:
    """Whether two paths start one Python with the same packages: files are compared, not spellings.

    All names in one virtual environment (`python`, `python3.11`) lead to the same interpreter; two environments over
    one base interpreter are different ones.
    """
    try:
        same_file = Path(one).samefile(other) or filecmp.cmp(one, other)
    except OSError:
        return False
    return same_file and _environment_of(one) == _environment_of(other)


def _environment_of(executable: str) -> Path | None:
    """The virtual environment that an interpreter is in: Python looks beside the path as given, links not followed."""
    folder = Path(executable).absolute().parent
    places = (place for place in (folder, folder.parent) if (place / "pyvenv.cfg").is_file())
    return next((place.resolve() for place in places), None)


def folder_of(origin: JobPythonOrigin) -> str:
    """The folder that a run works in: the one its code was loaded in, else the one of this process."""
    return getattr(origin.repository_origin.code_pointer, "working_directory", None) or str(Path.cwd())


def _is_process(pid: int, at: float) -> bool:
    """Whether the process that had this pid at that time still lives."""
    try:
        process = psutil.Process(pid)
        return process.create_time() <= at + _CLOCKS_S and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
