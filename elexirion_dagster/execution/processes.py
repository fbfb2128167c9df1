"""Long-running programs that live and end together."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

import psutil

_GRACE_S = 15.0
_LOOK_S = 0.25


class Group:
    """Starts programs with one environment; when a needed one ends, or the block is left, all are ended."""

    def __init__(self, environment: Mapping[str, str], *, cwd: Path) -> None:
        self._environment = dict(environment)
        self._cwd = cwd
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._needed: set[str] = set()
        self._started: dict[str, float] = {}
        self._starts: dict[str, Callable[[], None]] = {}
        self._due: dict[str, float] = {}

    def start(self, name: str, command: Sequence[str], *, needed: bool = True, inherits: Sequence[int] = ()) -> None:
        """Start a program in a process group of its own, so that this process decides when it ends.

        `inherits` are file descriptors that it gets too.
        """
        if needed:
            self._needed.add(name)
        self._starts[name] = partial(self.start, name, command, needed=needed, inherits=inherits)
        self._started[name] = time.monotonic()
        self._processes[name] = subprocess.Popen(
            command,
            env=self._environment,
            cwd=self._cwd,
            stdin=subprocess.DEVNULL,
            pass_fds=inherits,
            start_new_session=True,
        )

    def ended(self) -> tuple[str, int] | None:
        """The first needed program that has ended and is not to be started again, with its exit code."""
        for name, process in self._processes.items():
            code = process.poll()
            if code is not None and name in self._needed and name not in self._due:
                return name, code
        return None

    def seconds(self, name: str) -> float:
        """How long ago a program was started."""
        return time.monotonic() - self._started[name]

    def again(self, name: str, *, after_s: float = 0.0) -> None:
        """Start a program anew, after a pause during a `wait`; what is left of it is ended at once."""
        _signal_group(self._processes[name], signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._processes[name].wait(_GRACE_S)
        _signal_group(self._processes[name], signal.SIGKILL)
        self._processes[name].wait()
        self._due[name] = time.monotonic() + after_s
        self._start_due()

    def _start_due(self) -> None:
        for name in [name for name, at in self._due.items() if at <= time.monotonic()]:
            del self._due[name]
            self._starts[name]()

    def is_busy(self, name: str) -> bool:
        """Whether a program has programs of its own under way."""
        try:
            children = psutil.Process(self._processes[name].pid).children()
        except psutil.NoSuchProcess:
            return False
        return any(map(_is_at_work, children))

    def wait(self, until: Callable[[], bool] = lambda: False) -> tuple[str, int] | None:
        """Wait until a program ends by itself; its name and exit code, or None when what is asked for came first."""
        while (ended := self.ended()) is None:
            if until():
                return None
            time.sleep(_LOOK_S)
            self._start_due()
        return ended

    def __enter__(self) -> Self:
        self._before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        signal.signal(signal.SIGTERM, _interrupt)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Ask all of them to end and kill what is left of their groups; a further Ctrl-C does not cut this short."""
        with undisturbed():
            self._end()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _end(self) -> None:
        # As a terminal would: runs under way end their children. What a script starts in the background ignores Ctrl-C,
        # and so do the programs that it starts.
        word = signal.SIGTERM if self._before[signal.SIGINT] is signal.SIG_IGN else signal.SIGINT
        for process in self._processes.values():
            _signal_group(process, word)
        deadline = time.monotonic() + _GRACE_S
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            _signal_group(process, signal.SIGKILL)
            process.wait()


@contextmanager
def undisturbed() -> Iterator[None]:
    """Finish the block whatever signal asks this process to stop."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_at_work(process: psutil.Process) -> bool:
    """Python's own tracker of resources stays when the work is done."""
    try:
        return "resource_tracker" not in "".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
