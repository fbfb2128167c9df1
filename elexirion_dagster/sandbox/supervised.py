"""A command under its supervisor, as we see it: its pipes, what was read so far, and its end."""

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from elexirion_dagster.sandbox.supervisor import GRACE_S, command_line, environment

_WAKE_S = 0.25  # how often a cancellation is looked for
_END_S = GRACE_S + 15.0  # how long the supervisor may take to end everything
_DRAIN_S = 1.0  # how long an ended command's output is still read when something else holds its pipe
_CHUNK = 65_536


class Supervised:
    """Starts the supervisor of `program`; whoever makes one calls `end`. Raises ValueError, OSError."""

    keep_bytes = 10_000_000
    """How much of each stream is kept; the rest is read and dropped."""

    def __init__(
        self, program: Sequence[str], options: Sequence[str], env: Mapping[str, str], *, cwd: Path, with_stdin: bool
    ) -> None:
        lifeline, self._lifeline = os.pipe()
        self._report, report = os.pipe()
        words = [f"lifeline={lifeline}", f"report={report}", *options]
        try:
            self.process = subprocess.Popen(
                command_line(words, list(program)),
                cwd=cwd,
                env=environment(dict(env), dict(os.environ)),
                stdin=subprocess.PIPE if with_stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                pass_fds=(lifeline, report),
            )
        except BaseException:
            os.close(self._lifeline)
            os.close(self._report)
            raise
        finally:
            os.close(lifeline)
            os.close(report)
        self.exited = self.truncated = False
        self.read = {"stdout": bytearray(), "stderr": bytearray(), "report": bytearray()}
        self._selector = selectors.DefaultSelector()
        self._exit_fd: int | None = None
        self._unwritten = memoryview(b"")

    def open(self, stdin: str) -> None:
        """Listen to its pipes and its end."""
        if hasattr(os, "pidfd_open"):
            self._exit_fd = os.pidfd_open(self.process.pid)
            self._selector.register(self._exit_fd, selectors.EVENT_READ, "exit")
        self._unwritten = memoryview(stdin.encode(errors="replace"))
        for name, pipe in self._pipes().items():
            os.set_blocking(pipe, False)
            self._selector.register(pipe, selectors.EVENT_WRITE if name == "stdin" else selectors.EVENT_READ, name)

    def watch(self, deadline: float, cancelled: threading.Event | None) -> None:
        """Serve the pipes until it ends, the deadline (monotonic seconds) passes or the run is cancelled."""
        while not self.exited:
            left = deadline - time.monotonic()
            if left <= 0 or (cancelled is not None and cancelled.is_set()):
                return
            self._serve(left if cancelled is None and self._exit_fd is not None else min(left, _WAKE_S))

    def end(self) -> None:
        """Have the supervisor end whatever still runs, read what is left in the pipes, reap, close."""
        if not self.exited:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGTERM)
            self.watch(time.monotonic() + _END_S, None)
        os.close(self._lifeline)
        if not self.exited:  # something stopped the supervisor itself
            self._kill()
        self.process.wait()
        self._drain(time.monotonic() + _DRAIN_S)
        self._close()

    def text(self, name: str) -> str:
        """Decode what was kept of one stream."""
        return self.read[name].decode(errors="replace")

    def _pipes(self) -> dict[str, int]:
        found = {name: getattr(self.process, name) for name in ("stdin", "stdout", "stderr")}
        return {name: pipe.fileno() for name, pipe in found.items() if pipe is not None} | {"report": self._report}

    def _serve(self, timeout_s: float) -> None:
        for key, _ in self._selector.select(timeout_s):
            if key.data == "exit":
                self.exited = True
            elif key.data == "stdin":
                self._write(key.fd)
            else:
                self._take(key.data, key.fd)
        if self._exit_fd is None:
            self.exited = self.process.poll() is not None

    def _take(self, name: str, pipe: int) -> None:
        try:
            chunk = os.read(pipe, _CHUNK)
        except BlockingIOError:
            return
        if not chunk:
            self._selector.unregister(pipe)
            return
        room = self.keep_bytes - len(self.read[name])
        self.truncated = self.truncated or len(chunk) > room
        self.read[name] += chunk[: max(room, 0)]

    def _write(self, pipe: int) -> None:
        try:
            self._unwritten = self._unwritten[os.write(pipe, self._unwritten[:_CHUNK]) :]
        except BlockingIOError:
            return
        except OSError:
            self._unwritten = memoryview(b"")
        if not self._unwritten and self.process.stdin is not None:
            self._selector.unregister(pipe)
            self.process.stdin.close()

    def _drain(self, deadline: float) -> None:
        while self._open_outputs() and (left := deadline - time.monotonic()) > 0:
            self._serve(min(left, _WAKE_S))

    def _open_outputs(self) -> bool:
        return any(key.data in self.read for key in self._selector.get_map().values())

    def _close(self) -> None:
        self._selector.close()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        os.close(self._report)
        if self._exit_fd is not None:
            os.close(self._exit_fd)

    def _kill(self) -> None:
        """Kill the supervisor and all that it started."""
        try:
            family = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.Error:
            family = []
        for one in family:
            with contextlib.suppress(psutil.Error):
                one.kill()
        self.process.kill()
