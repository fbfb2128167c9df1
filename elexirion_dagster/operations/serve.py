"""The Dagster web server and daemon over this home's instance."""

import fcntl
import os
import shutil
import socket
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NoReturn

from elexirion_dagster.errors import ElexirionError, InputError
from elexirion_dagster.execution.processes import Group
from elexirion_dagster.execution.workers import WORKERS, end, warm
from elexirion_dagster.execution.zygote import command as zygote_command
from elexirion_dagster.operations.instance import PRELOAD, dagster_environment, init, workspace_file
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.home import Home

HOST = "127.0.0.1"
_READY_S = 120
_LIVED_S = 10


def serve(settings: Settings, *, port: int, say: Callable[[str], None]) -> NoReturn:
    """Run both until the user stops them (KeyboardInterrupt). ElexirionError when one of them ends by itself."""
    home = init(settings).home
    if _taken(port):
        raise InputError(f"port {port} is in use", mend="Give another with --port.")
    _create_databases(home)
    environment = dagster_environment(home, os.environ)
    workspace = str(workspace_file(home))
    commands = {
        "webserver": [_program("dagster-webserver"), "-h", HOST, "-p", str(port), "-w", workspace],
        "daemon": [_program("dagster-daemon"), "run", "-w", workspace],
    }
    with _alone(home) as lock, _ending_runs(home), Group(environment, cwd=Path.cwd()) as group:
        # not needed, as the launcher starts another when it is gone
        group.start("zygote", zygote_command(home.dagster, PRELOAD), needed=False)
        for name, command in commands.items():
            group.start(name, command, inherits=[lock])
        say(f"starting Dagster on http://{HOST}:{port} (instance {home.dagster}); Ctrl-C ends it")
        _wait_until_ready(group, port, say)
        name, code = group.wait()
        while (
            code < 0 and group.seconds(name) > _LIVED_S
        ):  # killed from outside; what fails by itself would do so again
            say(f"the {name} was killed by signal {-code}; starting it again")
            group.start(name, commands[name], inherits=[lock])
            name, code = group.wait()
    raise ElexirionError(
        f"the {name} ended by itself with exit code {code}",
        cause="command_failed",
        mend="Its last lines above say why; mend that and start again.",
    )


@contextmanager
def _alone(home: Home) -> Iterator[int]:
    """Hold the home's lock; two daemons on one instance would start every run twice.

    The programs that are started inherit it, so that it also holds while one of them has outlived `elexirion up`.
    """
    descriptor = os.open(home.dagster / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            mend = "Use that one, end it with the programs that it started, or set ELEXIRION_HOME to another folder."
            raise InputError(f"another `elexirion up` serves {home.path}", mend=mend) from error
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _ending_runs(home: Home) -> Iterator[None]:
    """End the runs of warm workers, which are in sessions of their own, once nothing starts further ones."""
    try:
        yield
    finally:
        end(home.dagster / WORKERS, warm(home.dagster / WORKERS))


def _create_databases(home: Home) -> None:
    """Make a new instance's databases before two programs do so at the same time and get in each other's way."""
    if (home.dagster / "history").exists():
        return
    # Dagster takes 1.5 s to import (measured); only the first start of a home needs it here.
    from dagster import DagsterInstance  # noqa: PLC0415

    with DagsterInstance.from_config(str(home.dagster)):
        return


def _wait_until_ready(group: Group, port: int, say: Callable[[str], None]) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and group.ended() is None:
        if _taken(port):
            say(f"ready: http://{HOST}:{port}")
            return
        time.sleep(0.2)


def _taken(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def _program(name: str) -> str:
    """The program that was installed beside this interpreter, else the one on the PATH."""
    beside = Path(sysconfig.get_path("scripts")) / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise ElexirionError(
            f"{name} is not installed", cause="command_failed", mend=f"{sys.executable} -m pip install {name}"
        )
    return found
