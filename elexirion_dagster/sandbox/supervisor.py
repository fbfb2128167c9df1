"""The process between us and one command: it sets limits before the program starts and leaves nothing running.

It is a program of its own (`command_line`) for three reasons. Limits and Landlock must be set between fork and exec,
which is safe only in a process with a single thread. Orphans of the command become its children, because it is a child
subreaper. And it ends the command when we die, however we die: then the lifeline, a pipe that we hold open, closes.
It starts for every command, so it avoids what is slow to import: collections, contextlib, signal and typing take 9 ms.
"""

import _signal as signal  # type: ignore[import-not-found]
import ctypes
import os
import resource
import select
import sys
import time

from elexirion_dagster.sandbox.descendants import descendants, end_all, reap, tell
from elexirion_dagster.sandbox.process_group import ProcessGroup

GRACE_S = 2.0
"""From SIGTERM to SIGKILL."""
NOT_STARTED, TOO_MANY_PROCESSES = "not started", "too many processes"
"""What it writes to the report descriptor; behind the first stands an errno."""

_PROGRAM = "import sys; sys.path.append(sys.argv.pop(1)); from elexirion_dagster.sandbox.supervisor import main; main()"
_PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 4, 36
_COUNT_MS = 20
_FAILED = 1 << 8
"""The wait status of a process that ended with exit code 1."""
_NEW_NPROC = (5, 14)
"""From this kernel on RLIMIT_NPROC counts the processes of each user namespace apart."""
_RESERVED_BYTES = 32 << 30
"""Address space beyond the memory: WebAssembly and Java reserve tens of gigabytes that they never write to."""
_LOADER = ("LD_", "DYLD_")
_KEPT = "ELEXIRION_KEPT_"
_LIMITS = {
    "memory": resource.RLIMIT_DATA,
    "cpu": resource.RLIMIT_CPU,
    "file": resource.RLIMIT_FSIZE,
    "core": resource.RLIMIT_CORE,
}


def command_line(options: list[str], program: list[str]) -> list[str]:
    """The supervisor as a command; `options` are words `name=value`, see `main`."""
    packages = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
    return [sys.executable, "-I", "-S", "-c", _PROGRAM, packages, *options, "--", *program]


def environment(program: dict[str, str], ours: dict[str, str]) -> dict[str, str]:
    """The supervisor's environment: the program's, except that the loader of shared libraries gets our variables."""
    kept = {f"{_KEPT}{name}" if name.startswith(_LOADER) else name: value for name, value in program.items()}
    return kept | {name: value for name, value in ours.items() if name.startswith(_LOADER)}


def main() -> None:
    """Run the command in `sys.argv` to its end, and leave with its exit code or by its signal.

    Descriptors: `lifeline`, `report`. Limits: `memory`, `file` and `core` in bytes, `cpu` in seconds, `processes` at a
    time. `bubblewrap` says that the program is bubblewrap, `data=PATH=TEXT` is a file to show in it. `landlock` asks
    for Landlock: `read` and `write` are the places it allows, `network` allows sockets, `scratch` is a folder to remove
    at the end.
    """
    split = sys.argv.index("--")
    options: dict[str, list[str]] = {}
    for word in sys.argv[1:split]:
        name, _, value = word.partition("=")
        options.setdefault(name, []).append(value)
    code = os.waitstatus_to_exitcode(_Command(options, sys.argv[split + 1 :]).run())
    if code < 0:
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


class _Command:
    """The command under supervision."""

    def __init__(self, options: dict[str, list[str]], program: list[str]) -> None:
        self.options = options
        self.program = list(program)
        self.lifeline, self.report, self.processes = (int(options[key][0]) for key in _NUMBERS)
        self.namespaced = "bubblewrap" in options
        self.group = ProcessGroup(self.processes + 2 * self.namespaced) if os.getuid() == 0 else None
        self.spared: set[int] = set()  # bubblewrap's own processes, which a SIGTERM would end before the program
        self.child = 0
        self.status: int | None = None

    def run(self) -> int:
        """Start it, watch it, end whatever it left behind; its wait status."""
        if sys.platform == "linux":
            libc = ctypes.CDLL(None)
            libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # a program of the same user cannot trace us
        os.set_inheritable(self.report, False)  # noqa: FBT003 - the interface of os
        wake = _wake_at_signals()
        self._start()
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        self._watch(wake)
        ended = end_all(self.child)
        if self.group is not None:
            self.group.remove()
        for folder in self.options.get("scratch", ()):
            os.spawnv(os.P_WAIT, "/bin/rm", ["rm", "-rf", "--", folder])  # noqa: S606 - a program without a shell
        status = ended if self.status is None else self.status
        return _FAILED if status is None else status

    def _start(self) -> None:
        told, tells = os.pipe() if self.namespaced else (-1, -1)
        waits, goes = os.pipe() if self.namespaced else (-1, -1)
        self.child = os.fork()
        if self.child == 0:
            self._become(tells, waits)
        if self.namespaced:
            os.close(tells)
            self._admit(told)
            os.write(goes, b"go")  # bubblewrap may have failed: nobody reads, but we hold the other end
            os.close(goes)
            os.close(waits)

    def _become(self, tells: int, waits: int) -> None:
        """In the child: limit it and make it the program."""
        try:
            os.setsid()
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            os.close(self.lifeline)
            if self.group is not None:
                self.group.enter()
            self._limit()
            if "landlock" in self.options:
                # Only the fallback needs it: 1 ms.
                from elexirion_dagster.sandbox.landlock_rules import restrict  # noqa: PLC0415

                restrict(self.options["read"], self.options["write"], network="network" in self.options)
            if self.namespaced:
                self.program[1:1] = [*self._files(), *_inherited("--info-fd", tells), *_inherited("--block-fd", waits)]
            os.execvpe(self.program[0], self.program, _own_environment())  # noqa: S606 - a program without a shell
        except OSError as error:
            os.write(self.report, f"{NOT_STARTED} {error.errno}".encode())
        finally:
            os._exit(127)

    def _limit(self) -> None:
        for name, kind in _LIMITS.items():
            for wanted in self.options.get(name, ()):
                _set_limit(kind, int(wanted))
        for wanted in self.options.get("memory", ()):
            _set_limit(resource.RLIMIT_AS, int(wanted) + _RESERVED_BYTES)
        if sys.platform == "linux" and not self.namespaced:
            # It counts all processes of the user, so it only bounds how many more there can be before we count ours.
            _set_limit(resource.RLIMIT_NPROC, _tasks() + self.processes)

    def _files(self) -> list[str]:
        """Files that exist only inside, as arguments of bubblewrap."""
        arguments: list[str] = []
        for word in self.options.get("data", ()):
            path, _, text = word.partition("=")
            file = os.memfd_create(path, 0)
            os.write(file, text.encode())
            os.lseek(file, 0, os.SEEK_SET)
            arguments += ["--perms", "0444", "--ro-bind-data", str(file), path]
        return arguments

    def _admit(self, told: int) -> None:
        """Limit how many processes there may be inside bubblewrap, which waits until we have done so."""
        with open(told, encoding="utf-8") as file:
            _, _, rest = file.read().partition('"child-pid":')
        digits = "".join(character for character in rest.partition("\n")[0] if character.isdigit())
        if not digits:  # it failed, and its exit says so
            return
        self.spared = {self.child, int(digits)}
        apart = tuple(int(part) for part in os.uname().release.split(".", 2)[:2]) >= _NEW_NPROC
        most = self.processes + 1 if apart else self.processes + _tasks()
        try:
            resource.prlimit(int(digits), resource.RLIMIT_NPROC, (most, most))
        except (ProcessLookupError, PermissionError):  # it failed after all; or a bubblewrap that is setuid root
            return

    def _watch(self, wake: int) -> None:
        """Return when the program ended, was asked to and did not, or has too many processes, or when we died."""
        poller = select.poll()
        poller.register(self.lifeline, 0)
        poller.register(wake, select.POLLIN)
        counted = sys.platform == "linux" and (self.group is None or not self.group.limited)
        if os.getuid() != 0 and self.namespaced:
            counted = False
        deadline: float | None = None
        while self.status is None:
            left_ms = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            ready = dict(poller.poll(min(_COUNT_MS, _COUNT_MS if left_ms is None else left_ms) if counted else left_ms))
            if self.lifeline in ready or (deadline is not None and time.monotonic() > deadline):
                return
            signals = os.read(wake, 1024) if wake in ready else b""
            _, self.status = reap(self.child)
            if signal.SIGTERM in signals and deadline is None:
                deadline = time.monotonic() + GRACE_S
                tell([pid for pid in descendants(os.getpid()) if pid not in self.spared], signal.SIGTERM)
            if counted and len(descendants(os.getpid())) - len(self.spared) > self.processes:
                os.write(self.report, TOO_MANY_PROCESSES.encode())
                return


_NUMBERS = ("lifeline", "report", "processes")


def _wake_at_signals() -> int:
    """A descriptor from which the numbers of signals can be read."""
    reads, writes = os.pipe()
    for end in (reads, writes):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda _number, _frame: None)
    return reads


def _own_environment() -> dict[str, str]:
    """What the program gets: the opposite of `environment`."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(_LOADER)}
    return {name.removeprefix(_KEPT): value for name, value in ours.items()}


def _inherited(option: str, descriptor: int) -> tuple[str, str]:
    os.set_inheritable(descriptor, True)  # noqa: FBT003 - the interface of os
    return option, str(descriptor)


def _set_limit(kind: int, wanted: int) -> None:
    _, hard = resource.getrlimit(kind)
    bound = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(kind, (bound, bound))
    except ValueError:  # macOS cannot limit the address space
        return


def _tasks() -> int:
    """How many threads the machine has, at least those of this user."""
    with open("/proc/loadavg", encoding="ascii") as file:  # noqa: PTH123 - pathlib takes 5 ms to import
        return int(file.read().split()[3].partition("/")[2])
