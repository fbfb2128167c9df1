"""The worker of one run, from the fork to its end."""

import faulthandler
import importlib
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self

from elexirion_dagster.execution.env_files import ignore_env_files
from elexirion_dagster.execution.workers import claim, log_file, wanted_job, worker
from elexirion_dagster.shell import RUN_VARIABLE

_FIELDS = {"run": str, "job": str, "args": str, "cwd": str, "environ": dict, "nice": int}
_AFTER_RUN = "after_run"
"""A preloaded module may have this function of (instance, run id), for what follows a run; its worker may be dead."""


@dataclass(frozen=True, slots=True)
class Order:
    """A run to work on: its job, the arguments of `dagster api execute_run`, the folder and environment to do so in.

    `nice` is how far it stands back where there is more to do than the machine has cores.
    """

    run: str
    job: str
    args: str
    cwd: str
    environ: Mapping[str, str]
    nice: int

    @classmethod
    def from_json(cls, fields: Any) -> Self:
        """Raises ValueError when it is not an order."""
        if not isinstance(fields, dict) or {name: type(value) for name, value in fields.items()} != _FIELDS:
            raise ValueError(f"expected an object of {', '.join(_FIELDS)}")
        return cls(**fields)


def say(connection: socket.socket, answer: Mapping[str, Any]) -> None:
    """Answer, if somebody still listens."""
    with suppress(OSError):
        connection.sendall(json.dumps(answer).encode() + b"\n")


def work(order: Order, folder: Path, connection: socket.socket, preload: Sequence[str]) -> NoReturn:
    """Be the worker of a run: claim it, answer with the pid of whoever has it, execute it if that is this process."""
    code = 1
    try:
        with connection:
            _become(order, folder)
            ours = claim(folder, order.run, "warm")
            say(connection, {"pid": os.getpid() if ours else worker(folder, order.run)})
        if ours:
            _stand_back(order.nice)
            code = _execute(order)
            _after(order, preload)
        else:
            code = 0
    except BaseException:  # noqa: BLE001 - nothing may return into the zygote's loop
        traceback.print_exc()
    finally:
        _leave(code, log_file(folder, order.run))


def bury(order: Order, folder: Path, preload: Sequence[str]) -> NoReturn:
    """Do what follows a run whose worker was killed, which the worker cannot do itself."""
    log = log_file(folder, order.run)
    try:
        _become(order, folder)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for number in (1, 2):  # the log is for what the worker said
            os.dup2(nowhere, number)
        _after(order, preload)
    except BaseException:  # noqa: BLE001 - nothing may return into the zygote's loop
        log.open("a", encoding="utf-8").write(traceback.format_exc())
    finally:
        _leave(0, log)


def _instance(order: Order) -> Any:
    """The instance that the order's arguments name."""
    args = importlib.import_module("dagster").deserialize_value(order.args)
    return importlib.import_module("dagster").DagsterInstance.from_ref(args.instance_ref)


def _after(order: Order, preload: Sequence[str]) -> None:
    """Call `after_run` of the preloaded modules that have it."""
    found = [function for name in preload if (function := getattr(sys.modules[name], _AFTER_RUN, None))]
    if found:
        with _instance(order) as instance:
            for function in found:
                function(instance, order.run)


def _stand_back(nice: int) -> None:
    """Leave the processor first to what starts and watches runs, and to recoveries.

    Where Linux groups processes by session, how they share is a matter of the groups.
    """
    os.nice(nice)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(nice), encoding="ascii")


def _become(order: Order, folder: Path) -> None:
    """Leave everything of the zygote's behind: session, streams, signals, environment, folder, random state."""
    os.setsid()
    folder.mkdir(mode=0o700, exist_ok=True)
    log = os.open(log_file(folder, order.run), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    for number, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
        os.dup2(source, number)
    faulthandler.enable(log)  # also while a capture has stderr elsewhere
    for name in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(name, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(order.environ)
    os.environ[RUN_VARIABLE] = order.run
    time.tzset()
    os.chdir(order.cwd)
    if "numpy" in sys.modules:  # Python's own generator is seeded anew in every fork, numpy's is not
        sys.modules["numpy"].random.seed()
    wanted_job.set(order.job)


def _execute(order: Order) -> int:
    """What `dagster api execute_run` does with these arguments."""
    ignore_env_files()
    api = importlib.import_module("dagster._cli.api")
    try:
        api.execute_run_command.main(args=[order.args], standalone_mode=False)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0


def _leave(code: int, log: Path) -> NoReturn:
    """End as the forks of `multiprocessing` do: threads are waited for, what the zygote put up is not torn down."""
    with suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined] # noqa: SLF001
        sys.stdout.flush()
        sys.stderr.flush()
        if not log.stat().st_size:
            log.unlink()
    os._exit(code)
