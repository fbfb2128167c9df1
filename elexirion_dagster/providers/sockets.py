"""A deadline for a whole HTTP call, and its cancellation: the timeouts of httpx bound only one read each."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SLICE_S = 0.1
"""How long one read may block before cancellation is looked at again."""
_LEAST_S = 0.001
IDLE_S = 90.0
"""A stream that has begun and then sends nothing for so long is over. Before its first byte a model may think, or a
small machine read a long prompt, for as long as the call may take."""


class Watch(threading.local):
    """When the call of this thread must end, and who may end it sooner. httpx does a call's I/O in its own thread."""

    _end: float = float("inf")
    _cancelled: threading.Event | None = None
    _streams: bool = False
    _begun: bool = False

    @contextmanager
    def over(self, timeout_s: float, cancelled: threading.Event | None, *, streams: bool = False) -> Iterator[None]:
        """Watch over what this thread reads and writes inside the block; `streams`: silence has a limit of its own."""
        self._end, self._cancelled = time.monotonic() + timeout_s, cancelled
        self._streams, self._begun = streams, False
        try:
            yield
        finally:
            self._end, self._cancelled = float("inf"), None

    def heard(self) -> None:
        """Take note that something came."""
        self._begun = True

    @property
    def idle_s(self) -> float:
        """Seconds that may pass until the next byte."""
        return IDLE_S if self._streams and self._begun else float("inf")

    def left_s(self) -> float:
        """Seconds until the end; none once cancelled."""
        if self._cancelled is not None and self._cancelled.is_set():
            return 0.0
        return max(0.0, self._end - time.monotonic())


def watch_sockets(client: Any, watch: Watch, timed_out: type[Exception]) -> None:
    """Put every connection that an httpx client will open under watch; `timed_out` is what its reads shall raise.

    Neither httpx nor httpx2 offers a public way to hand their transports a network backend, hence the private names.
    """
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001  see above
        if transport is not None:
            pool = transport._pool  # noqa: SLF001  see above
            pool._network_backend = _Backend(pool._network_backend, watch, timed_out)  # noqa: SLF001  see above


class _Backend:
    def __init__(self, inner: Any, watch: Watch, timed_out: type[Exception]) -> None:
        self._inner = inner
        self._watch = watch
        self._timed_out = timed_out

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, **options: Any) -> "_Stream":
        bounded = _shortest(timeout, self._watch.left_s())
        return _Stream(self._inner.connect_tcp(host, port, timeout=bounded, **options), self._watch, self._timed_out)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Stream:
    def __init__(self, inner: Any, watch: Watch, timed_out: type[Exception]) -> None:
        self._inner = inner
        self._watch = watch
        self._timed_out = timed_out

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        now, idle_s = time.monotonic(), self._watch.idle_s
        end = now + (float("inf") if timeout is None else timeout)
        while True:
            silence_left = now + idle_s - time.monotonic()
            left = min(end - time.monotonic(), silence_left, self._watch.left_s())
            if left <= 0:
                raise self._timed_out(f"the stream sent nothing for {idle_s:g} s" if silence_left <= 0 else "")
            try:
                data: bytes = self._inner.read(max_bytes, min(left, _SLICE_S))
            except self._timed_out:
                continue
            self._watch.heard()
            return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _shortest(timeout, self._watch.left_s()))

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> "_Stream":
        bounded = _shortest(timeout, self._watch.left_s())
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, bounded), self._watch, self._timed_out)

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _shortest(timeout: float | None, left_s: float) -> float | None:
    bounded = left_s if timeout is None else min(timeout, left_s)
    return None if bounded == float("inf") else max(_LEAST_S, bounded)
