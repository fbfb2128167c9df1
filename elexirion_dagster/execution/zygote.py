"""A process that has imported Dagster, the SDKs and this package once, and forks a worker for each run.

`python -m elexirion_dagster.execution.zygote FOLDER MODULE…` imports the modules and serves the Unix socket
`FOLDER/zygote.sock` until the process that started it ends, or until a file that it imported has changed.
A request and its answer are one JSON line each: `{"run", "args", "cwd", "environ"}` gives `{"pid"}` or `{"error"}`;
`{}` asks only whether it is there.
"""

import contextlib
import fcntl
import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from elexirion_dagster.execution.workers import claim, log_file

SOCKET = "zygote.sock"
LOCK = "zygote.lock"
WORKERS = "workers"
"""Folder of the files that say who works on which run."""
CHANGED = "changed"
"""The answer of a zygote whose modules are not those on the disk any more; it ends."""

_NEEDED = (
    "dagster._cli.api",
    "dagster._core.storage.event_log.sqlite",
    "dagster._core.storage.runs.sqlite",
    "dagster._core.storage.schedules.sqlite",
    "sqlalchemy.dialects.sqlite",
)
"""What every run of Dagster needs."""
_LOOK_S = 1.0
_LOCK_S = 10.0
_REQUEST_S = 10.0
_MOST_BYTES = 4_000_000


def command(folder: Path, preload: Sequence[str]) -> list[str]:
    """The program that serves a folder after importing these modules."""
    return [sys.executable, "-m", "elexirion_dagster.execution.zygote", str(folder), *preload]


def serve(folder: Path, preload: Sequence[str]) -> int:
    """Serve until there is a reason to end; the exit code."""
    parent = os.getppid()
    if not _only_one(folder):
        return 0
    modules = _import((*_NEEDED, *preload))
    if threading.active_count() > 1:
        names = ", ".join(thread.name for thread in threading.enumerate()[1:])
        print(f"not safe to fork: importing started the threads {names}", file=sys.stderr)  # noqa: T201 - its log
        return 1
    gc.collect()
    gc.freeze()  # what is there now is shared with the workers as long as nobody writes to it
    with _listening(folder / SOCKET) as listener:
        while os.getppid() == parent:
            ready, _, _ = select.select([listener], [], [], _LOOK_S)
            _reap()
            if ready and not _answer(listener, folder, modules):
                return 0
    return 0


def _only_one(folder: Path) -> bool:
    """Hold the folder's lock from now on; False when another zygote keeps it."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _LOCK_S
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_S / 10)
        else:
            return True


def _import(names: Sequence[str]) -> dict[str, float]:
    """Import what workers need; the files that were read, with their times."""
    for name in names:
        importlib.import_module(name)
    origins = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    files = (Path(origin) for origin in origins if origin)
    return {str(file): file.stat().st_mtime for file in files if file.exists()}


def _changed(modules: Mapping[str, float]) -> bool:
    try:
        return any(os.stat(origin).st_mtime != was for origin, was in modules.items())  # noqa: PTH116 - twice as fast
    except OSError:
        return True


def _listening(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        with _inside(path.parent):  # a socket's path may have about 100 characters only
            listener.bind(path.name)
    finally:
        os.umask(before)
    listener.listen(256)
    return listener


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _answer(listener: socket.socket, folder: Path, modules: Mapping[str, float]) -> bool:
    """Answer one request; False when this process should end."""
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(_REQUEST_S)
        try:
            request = _read(connection)
        except (OSError, ValueError) as error:
            _say(connection, {"error": f"not a request: {error}"})
            return True
        if _changed(modules):
            _say(connection, {"error": CHANGED})
            return False
        if not request:
            _say(connection, {})
            return True
        pid = os.fork()
        if pid == 0:
            listener.close()
            connection.close()
            _work(request, folder)
        _say(connection, {"pid": pid})
    return True


def _read(connection: socket.socket) -> dict[str, Any]:
    if not _is_ours(connection):
        raise ValueError("it comes from another user")
    parts: list[bytes] = []
    while not (parts and parts[-1].endswith(b"\n")):
        part = connection.recv(65_536)
        if not part or sum(map(len, parts)) > _MOST_BYTES:
            raise ValueError("it has no end")
        parts.append(part)
    request: dict[str, Any] = json.loads(b"".join(parts))
    return request


def _is_ours(connection: socket.socket) -> bool:
    """Whether the other side is the same user; the socket's mode says so already, this does where modes are ignored."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return bool(uid == os.geteuid())


def _say(connection: socket.socket, answer: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(answer).encode() + b"\n")


def _work(request: Mapping[str, Any], folder: Path) -> None:
    """Be the worker of one run; does not return."""
    code = 1
    try:
        _become(request, folder)
        if claim(folder / WORKERS, request["run"]):
            code = _execute(request["args"])
    except BaseException:  # noqa: BLE001 - nothing may return into the zygote's loop
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _become(request: Mapping[str, Any], folder: Path) -> None:
    """Leave everything of the zygote's behind: terminal, group, signals, environment, folder, random state."""
    os.setsid()
    (folder / WORKERS).mkdir(mode=0o700, exist_ok=True)
    log = os.open(log_file(folder / WORKERS, request["run"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
        os.dup2(source, number)
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(name, signal.default_int_handler if name == signal.SIGINT else signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(request["environ"])
    os.chdir(request["cwd"])
    random.seed()


def _execute(args: str) -> int:
    """What `dagster api execute_run` does with these arguments."""
    api = importlib.import_module("dagster._cli.api")
    try:
        api.execute_run_command.main(args=[args], standalone_mode=False)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0


if __name__ == "__main__":
    sys.exit(serve(Path(sys.argv[1]), sys.argv[2:]))
