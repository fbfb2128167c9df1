"""The Dagster web server and daemon over this home's instance."""

import fcntl
import math
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from elexirion_dagster.configuration import check_settings
from elexirion_dagster.dialects.lookup import find_all
from elexirion_dagster.errors import ElexirionError, InputError
from elexirion_dagster.execution.env_files import command
from elexirion_dagster.execution.processes import Group, undisturbed
from elexirion_dagster.execution.workers import WORKERS, any_since, end, warm
from elexirion_dagster.execution.zygote import command as zygote_command
from elexirion_dagster.operations.instance import PRELOAD, dagster_environment, init, workspace_file
from elexirion_dagster.operations.opened import open_instance, read_all
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.host import this_host
from elexirion_dagster.store.hub import claim_instance

HOST = "127.0.0.1"
LOCATIONS = ("elexirion_dagster", "optimizer_assets")
_RUNTIME = "code server of elexirion_dagster"
_READY_S = 120
_LIVED_S = 60
_KILLS, _EXITS = 20, 5
"""What is killed, or exits by itself, more often, each time before it has lived so long, is not started again."""
_LONGEST_PAUSE_S = 30
_UP_LOCK = "up.lock"


def serve(settings: Settings, *, port: int, say: Callable[[str], None]) -> NoReturn:
    """Run both until the user stops them (KeyboardInterrupt). ElexirionError when one of them ends again and again."""
    check_settings(settings)
    home = _opened(settings, say)
    if _taken(port):
        raise InputError(f"port {port} is in use", mend="Give another with --port.")
    environment = dagster_environment(home, os.environ)
    with (
        _alone(home) as lock,
        tempfile.TemporaryDirectory(prefix="elexirion-") as folder,  # a socket's path may have about 100 characters
        _ending_runs(home, settings),
        Group(environment, cwd=Path.cwd()) as group,
    ):
        _claim(settings, say)
        sockets = {location: Path(folder) / location for location in LOCATIONS}
        servers, programs = _code_servers(sockets), _programs(port, workspace_file(home, sockets))
        # not needed, as the launcher starts another when it is gone
        group.start("zygote", zygote_command(home.dagster, PRELOAD), needed=False)
        for refused in find_all(settings).refused.values():
            say(f"warning: {refused.error}")
        say(f"starting Dagster on http://{HOST}:{port} (instance {home.dagster}); Ctrl-C ends it")
        for name, command in servers.items():
            group.start(name, command, inherits=[lock])
        keep = _Keeping(group, settings, say)
        # who finds no server looks again after long
        keep.running(until=lambda: all(map(_listens, sockets.values())), within_s=_READY_S)
        for name, command in programs.items():
            group.start(name, command, inherits=[lock])
        keep.running(until=lambda: _taken(port), within_s=_READY_S)
        if _taken(port):
            say(f"ready: http://{HOST}:{port}")
        keep.running(until=lambda: False, within_s=math.inf)
    raise AssertionError("programs are kept running until they are stopped")


def _code_servers(sockets: Mapping[str, Path]) -> dict[str, list[str]]:
    """One per location, for web server and daemon; what it cannot load it shows, as loading is left for later."""
    return {
        f"code server of {location}": command(
            *("dagster", "api", "grpc", "--lazy-load-user-code", "--log-level", "warning"),
            *("--module-name", f"{location}.definitions", "--location-name", location, "--socket", str(path)),
            "--inject-env-vars-from-instance",
            "--empty-working-directory",  # else modules are imported from the folder where the user happens to be
        )
        for location, path in sockets.items()
    }


def _programs(port: int, workspace: Path) -> dict[str, list[str]]:
    return {
        "webserver": [  # -P: no module is imported from the folder where the user happens to be
            *(sys.executable, "-P", "-m", "elexirion_dagster.web.server"),
            *("--host", HOST, "--port", str(port), "--workspace", str(workspace)),
        ],
        "daemon": command("dagster-daemon", "run", "-w", str(workspace)),
    }


class _Keeping:
    """Keeps the programs of a group running.

    What ends is started again, after a pause that grows where it exits by itself, and so is the runtime's code server
    when the pipelines have changed.
    """

    def __init__(self, group: Group, settings: Settings, say: Callable[[str], None]) -> None:
        self._group = group
        self._settings = settings
        self._say = say
        self._deaths: dict[str, int] = {}
        self._seen = _pipelines(settings)

    def running(self, *, until: Callable[[], bool], within_s: float) -> None:
        """Keep them running until something holds or the time is over. ElexirionError when one ends too often."""
        deadline = time.monotonic() + within_s
        while True:
            ended = self._group.wait(lambda: self._have_changed() or until() or time.monotonic() > deadline)
            if ended is not None:
                self._start_again(*ended)
            elif self._have_changed():
                self._say("the pipelines have changed; reading them again")
                self._seen = _pipelines(self._settings)
                self._group.again(_RUNTIME)
            else:
                return

    def _have_changed(self) -> bool:
        return _pipelines(self._settings) != self._seen and not self._group.is_busy(_RUNTIME)

    def _start_again(self, name: str, code: int) -> None:
        deaths = 1 if self._group.seconds(name) > _LIVED_S else self._deaths.get(name, 0) + 1
        self._deaths[name] = deaths
        how = f"exited with code {code}" if code >= 0 else f"was killed by signal {-code}"
        if deaths > (_EXITS if code >= 0 else _KILLS):
            message = f"the {name} {how}, {deaths} times in a row"
            mend = "Its last lines above say why. Remove the reason, then run `elexirion up` again."
            raise ElexirionError(message, cause="command_failed", mend=mend)
        pause_s = min(2 ** (deaths - 1), _LONGEST_PAUSE_S) if code >= 0 else 0
        self._say(f"the {name} {how}; starting it again" + (f" in {pause_s} s" if pause_s else ""))
        self._group.again(name, after_s=pause_s)


def _pipelines(settings: Settings) -> dict[Path, int]:
    """The files of the pipelines, and when they were changed."""
    found = {}
    known = find_all(settings)
    for file in (*known.values(), *(one.file for one in known.refused.values())):
        with suppress(FileNotFoundError):
            found[file] = file.stat().st_mtime_ns
    return found


def is_served(home: Home) -> bool:
    """Whether an `elexirion up`, or a program that one started, is at work on this home."""
    try:
        descriptor = os.open(home.dagster / _UP_LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


@contextmanager
def _alone(home: Home) -> Iterator[int]:
    """Hold the home's lock; two daemons on one instance would start every run twice.

    The programs that are started inherit it, so that it also holds while one of them has outlived `elexirion up`.
    """
    descriptor = os.open(home.dagster / _UP_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
def _ending_runs(home: Home, settings: Settings) -> Iterator[None]:
    """End the runs of warm workers, which are in sessions of their own, once nothing starts further ones.

    What was started and has no process after that is cancelled. Runs in the queue stay there for the next time.
    """
    folder, began = home.dagster / WORKERS, time.time()
    try:
        yield
    finally:
        with undisturbed():
            end(folder, at_work := warm(folder))
            if at_work or any_since(folder, began):
                # Dagster takes 1.5 s to import (measured); where no run was started it is not needed.
                from elexirion_dagster.operations.left import cancel_left  # noqa: PLC0415

                cancel_left(settings)


def _opened(settings: Settings, say: Callable[[str], None]) -> Home:
    """The home, its instance's databases read once, so that what cannot be used is said here and in words."""
    for said in init(settings).repaired:
        say(f"repaired {said}")
    with open_instance(settings) as (home, instance):
        read_all(instance)
        return home


def _claim(settings: Settings, say: Callable[[str], None]) -> None:
    """Have the instance served by this machine from now on."""
    with open_instance(settings) as (home, instance):
        before = claim_instance(instance)
    say(f"one machine serves {home.path}: runs work on {this_host().name} only")
    if before is not None:
        say(f"the machine {before.name} served the instance until now; runs fail there from now on")


def _listens(path: Path) -> bool:
    with closing(socket.socket(socket.AF_UNIX)) as probe:
        return probe.connect_ex(str(path)) == 0


def _taken(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0
