"""The Dagster web server and daemon over this home's instance."""

import fcntl
import os
import shutil
import socket
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
SERVERS = {
    "elexirion_dagster": ("code-server", "start"),
    "optimizer_assets": ("api", "grpc", "--lazy-load-user-code"),  # lazily: what it cannot import is shown in the UI
}
"""The code locations, and the kind of Dagster's servers for each.

The runtime's can be told in the UI to read the pipelines again, for 80 MB and 1 % of a core (measured).
"""
_READY_S = 120
_LIVED_S = 10


def serve(settings: Settings, *, port: int, say: Callable[[str], None]) -> NoReturn:
    """Run both until the user stops them (KeyboardInterrupt). ElexirionError when one of them ends by itself."""
    home = init(settings).home
    if _taken(port):
        raise InputError(f"port {port} is in use", mend="Give another with --port.")
    _create_databases(home)
    environment = dagster_environment(home, os.environ)
    with (
        _alone(home) as lock,
        tempfile.TemporaryDirectory(prefix="elexirion-") as folder,  # a socket's path may have about 100 characters
        _ending_runs(home),
        Group(environment, cwd=Path.cwd()) as group,
    ):
        sockets = {location: Path(folder) / location for location in SERVERS}
        servers, programs = _code_servers(sockets), _programs(port, workspace_file(home, sockets))
        # not needed, as the launcher starts another when it is gone
        group.start("zygote", zygote_command(home.dagster, PRELOAD), needed=False)
        say(f"starting Dagster on http://{HOST}:{port} (instance {home.dagster}); Ctrl-C ends it")
        for name, command in servers.items():
            group.start(name, command, inherits=[lock])
        _wait_until(lambda: all(map(_listens, sockets.values())), group)  # who finds no server looks again after long
        for name, command in programs.items():
            group.start(name, command, inherits=[lock])
        _wait_until(lambda: _taken(port), group)
        if _taken(port):
            say(f"ready: http://{HOST}:{port}")
        name, code = _tend(group, servers | programs, lock, say)
    raise ElexirionError(
        f"the {name} ended by itself with exit code {code}",
        cause="command_failed",
        mend="Its last lines above say why; mend that and start again.",
    )


def _code_servers(sockets: Mapping[str, Path]) -> dict[str, list[str]]:
    """One per location, for web server and daemon."""
    return {
        f"code server of {location}": [
            *(_program("dagster"), *SERVERS[location], "--socket", str(path), "--location-name", location),
            *("--module-name", f"{location}.definitions", "--log-level", "warning", "--inject-env-vars-from-instance"),
        ]
        for location, path in sockets.items()
    }


def _programs(port: int, workspace: Path) -> dict[str, list[str]]:
    return {
        "webserver": [_program("dagster-webserver"), "-h", HOST, "-p", str(port), "-w", str(workspace)],
        "daemon": [_program("dagster-daemon"), "run", "-w", str(workspace)],
    }


def _tend(
    group: Group, commands: Mapping[str, Sequence[str]], lock: int, say: Callable[[str], None]
) -> tuple[str, int]:
    """Start again what is killed from outside; the first program that ended by itself, with its exit code."""
    name, code = group.wait()
    while code < 0 and group.seconds(name) > _LIVED_S:  # what was killed at once would be so again
        say(f"the {name} was killed by signal {-code}; starting it again")
        group.start(name, commands[name], inherits=[lock])
        name, code = group.wait()
    return name, code


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


def _wait_until(look: Callable[[], bool], group: Group) -> None:
    """Wait, but not for ever and not for what has ended."""
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and group.ended() is None and not look():
        time.sleep(0.1)


def _listens(path: Path) -> bool:
    with closing(socket.socket(socket.AF_UNIX)) as probe:
        return probe.connect_ex(str(path)) == 0


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
