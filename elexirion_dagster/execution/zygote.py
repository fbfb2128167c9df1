"""A process that has imported Dagster, the SDKs and this package once, and forks a worker for each run.

`python -m elexirion_dagster.execution.zygote PID FOLDER MODULE…` imports the modules and serves the Unix socket
`FOLDER/zygote.sock` until its parent PID ends, or until a file that it imported has changed. A request and its answer
are one JSON line each: an `Order` gives `{"pid"}` of the worker that has claimed the run, or `{"error"}`; `{}` asks
only whether it is there.
"""

import contextlib
import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from elexirion_dagster.execution.forked import Order, bury, say, work
from elexirion_dagster.execution.workers import WORKERS

SOCKET = "zygote.sock"
CHANGED = "changed"
"""The answer of a zygote whose modules are not those on the disk any more; it ends."""

_LOCK = "zygote.lock"
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
_MOST_SIGNALS = 4096


def command(folder: Path, preload: Sequence[str]) -> list[str]:
    """The program that serves a folder for this process, after importing these modules."""
    return [
        *(sys.executable, "-P", "-m", "elexirion_dagster.execution.zygote"),  # -P: nothing is imported from the folder
        *(str(os.getpid()), str(folder), *preload),  # where the user happens to be
    ]


def serve(parent: int, folder: Path, preload: Sequence[str]) -> int:
    """Serve until there is a reason to end; the exit code."""
    if not _only_one(folder):
        return 0
    modules = _import((*_NEEDED, *preload))
    read_migrations_once()
    if threads := _threads():
        print(f"not safe to fork: importing started {threads}", file=sys.stderr)  # noqa: T201 - its log
        return 1
    gc.collect()
    gc.freeze()  # what is there now is shared with the workers as long as nobody writes to it
    workers: dict[int, Order] = {}
    signal.signal(signal.SIGCHLD, lambda *_: None)  # a worker's end ends the wait below
    woken, waker = socket.socketpair()
    waker.settimeout(0)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    with _listening(folder / SOCKET) as listener:
        while os.getppid() == parent:
            ready, _, _ = select.select([listener, woken], [], [], _LOOK_S)
            if woken in ready:
                woken.recv(_MOST_SIGNALS)
            for order in _killed(workers):
                _bury(order, folder, preload, listener)
            if listener in ready and not _answer(listener, folder, modules, workers, preload):
                return 0
    return 0


def _only_one(folder: Path) -> bool:
    """Hold the folder's lock from now on; False when another zygote keeps it."""
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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


def read_migrations_once() -> None:
    """Keep Dagster's database migrations in memory, for this process and its workers.

    To learn which is the last, each of a worker's storages reads and runs all of these files: a third of the CPU that a
    run costs (measured), and memory that no two workers share.
    """
    scripts = importlib.import_module("alembic.script").ScriptDirectory
    from_config, kept = scripts.from_config, dict[str, Any]()

    def known(config: Any) -> Any:
        place = config.get_main_option("script_location")
        if place not in kept:
            kept[place] = from_config(config)
        return kept[place]

    scripts.from_config = known
    storage = importlib.import_module("dagster._core.storage.sql")
    known(storage.get_alembic_config(storage.__file__)).as_revision_number("head")


def _threads() -> str:
    """The threads beside this one, those of native code included; a fork would leave their locks locked for ever."""
    if threading.active_count() > 1:
        return "the threads " + ", ".join(thread.name for thread in threading.enumerate()[1:])
    count = len(list(Path("/proc/self/task").iterdir())) - 1
    return f"{count} threads of native code" if count else ""


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


def _killed(workers: dict[int, Order]) -> list[Order]:
    """Wait for the workers that have ended; what those were at that did not end by themselves."""
    killed = []
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            order = workers.pop(ended[0], None)
            if order is not None and os.WIFSIGNALED(ended[1]):
                killed.append(order)
    return killed


def _bury(order: Order, folder: Path, preload: Sequence[str], listener: socket.socket) -> None:
    """Fork a process that fails the run of a killed worker; if that cannot be, Dagster's monitoring fails it later."""
    with contextlib.suppress(OSError):
        if os.fork() == 0:
            signal.set_wakeup_fd(-1)
            listener.close()
            bury(order, folder / WORKERS, preload)


def _answer(
    listener: socket.socket,
    folder: Path,
    modules: Mapping[str, float],
    workers: dict[int, Order],
    preload: Sequence[str],
) -> bool:
    """Answer one request, or let the worker do so once it has the run; False when this process should end."""
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(_REQUEST_S)
        try:
            request = _read(connection)
            order = Order.from_json(request) if request else None
        except (OSError, ValueError) as error:
            say(connection, {"error": f"not a request: {error}"})
            return True
        if _changed(modules):
            say(connection, {"error": CHANGED})
            return False
        if order is None:
            say(connection, {})
            return True
        try:
            pid = os.fork()
        except OSError as error:
            say(connection, {"error": f"cannot fork: {error}"})
            return True
        if pid == 0:
            signal.set_wakeup_fd(-1)
            listener.close()
            work(order, folder / WORKERS, connection, preload)
        workers[pid] = order
    return True


def _read(connection: socket.socket) -> Any:
    if not _is_ours(connection):
        raise ValueError("it comes from another user")
    text = bytearray()
    while not text.endswith(b"\n"):
        part = connection.recv(65_536)
        if not part or len(text) > _MOST_BYTES:
            raise ValueError("it has no end")
        text += part
    return json.loads(text)


def _is_ours(connection: socket.socket) -> bool:
    """Whether the other side is the same user; the socket's mode says so already, this does where modes are ignored."""
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return bool(uid == os.geteuid())


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a trace
    sys.exit(serve(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
