"""One model call on the wire: the answer, or the fault that is due instead of it or inside it."""

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from typing import Protocol

from elexirion_dagster.records import Json
from elexirion_dagster.rehearsal.http import chunk, plain, plain_json, stream_head
from elexirion_dagster.rehearsal.play import Asked, Failure, Line
from elexirion_dagster.rehearsal.script import (
    Cut,
    ErrorEvent,
    Fault,
    Html,
    Malformed,
    Reset,
    SlowDrip,
    Stall,
    Status,
    WrongContentType,
)

_PING_EVERY_S = 0.05
_HTML = b"<html><body>Scripted by the rehearsal: a proxy's page.</body></html>"
_JSON = "application/json"


class Wire(Protocol):
    """A provider's wire format: `messages`, `completions`, and the variants of `contents`."""

    PING: bytes
    """What a stream may hold that is no news."""
    STREAM_TYPE: str
    """A stream's content type."""
    OVERLOADED: int
    """The status that says so."""
    HINTS_AS_HEADERS: bool
    """Whether hints when to come back travel as headers; else they stand in the error's body."""

    def refusal(self, body: Mapping[str, Json], /) -> str | None:
        """Why the provider answers 400 to a request, in its own words; None where it does not."""

    def asked(self, body: Mapping[str, Json], /) -> Asked:
        """Read what a request asks for."""

    def whole(self, line: Line, /) -> Json:
        """Build the body of a plain answer."""

    def events(self, line: Line, /) -> list[bytes]:
        """Build the events of a streamed answer."""

    def error_body(self, failure: Failure, /) -> Json:
        """Build the body of an error."""

    def error_event(self, failure: Failure, /) -> bytes:
        """Build an error inside a stream."""

    def malformed_event(self) -> bytes:
        """Build an event whose JSON is broken."""


class Hangup(Exception):  # noqa: N818  the end of a connection, not an error
    """The script closes the connection; `reset` with a TCP reset."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__()
        self.reset = reset


async def perform(
    writer: asyncio.StreamWriter, wire: Wire, line: Line, fault: Fault | None, *, stream: bool, pace_s: float
) -> None:
    """Play one answer. Raises Hangup when the script wants the connection closed afterwards."""
    await asyncio.sleep(line.latency_s)
    headers = {"request-id": f"req_rehearsal_{line.number}", "x-request-id": f"req_rehearsal_{line.number}"}
    match fault:
        case Status():
            writer.write(_status(wire, fault, headers))
        case Html():
            writer.write(plain(200, _HTML, kind="text/html; charset=utf-8", headers=headers))
        case Reset(after_events=0):
            raise Hangup(reset=True)
        case WrongContentType(type=kind):
            writer.write(_whole(wire, line, kind, headers, stream=stream))
        case SlowDrip():
            kind = wire.STREAM_TYPE if stream else _JSON
            await _drip(writer, fault, _whole(wire, line, kind, headers, stream=stream))
        case _ if stream:
            writer.write(stream_head(wire.STREAM_TYPE, headers))
            await _stream(writer, wire, line, fault, pace_s=pace_s)
        case _:
            await _plain(writer, wire, line, fault, headers)
    await writer.drain()


def _status(wire: Wire, fault: Status, headers: dict[str, str]) -> bytes:
    hints = {"retry-after": fault.retry_after_s, "retry-after-ms": fault.retry_after_ms}
    more = {name: f"{value:g}" for name, value in hints.items() if value is not None and wire.HINTS_AS_HEADERS}
    retry_s = fault.retry_after_s if fault.retry_after_ms is None else fault.retry_after_ms / 1000
    failure = Failure(fault.status, fault.message, fault.type, fault.error_code, retry_s)
    return plain_json(fault.status, wire.error_body(failure), {**headers, **more})


def _whole(wire: Wire, line: Line, kind: str, headers: dict[str, str], *, stream: bool) -> bytes:
    """Build a whole answer, its head included."""
    if not stream:
        return plain(200, json.dumps(wire.whole(line)).encode(), kind=kind, headers=headers)
    return stream_head(kind, headers) + b"".join(map(chunk, [*wire.events(line), b""]))


async def _drip(writer: asyncio.StreamWriter, fault: SlowDrip, data: bytes) -> None:
    for start in range(0, len(data), fault.size):
        writer.write(data[start : start + fault.size])
        await writer.drain()
        await asyncio.sleep(fault.every_ms / 1000)


async def _plain(
    writer: asyncio.StreamWriter, wire: Wire, line: Line, fault: Fault | None, headers: dict[str, str]
) -> None:
    body = json.dumps(wire.whole(line)).encode()
    match fault:
        case Stall(seconds=seconds):
            await asyncio.sleep(seconds)
        case Malformed():
            body = body[: len(body) // 2]
        case Cut():
            writer.write(plain(200, body, headers=headers)[: -len(body) // 2])
            raise Hangup(reset=False)
        case Reset():
            raise Hangup(reset=True)
        case ErrorEvent(type=kind):
            failure = Failure(wire.OVERLOADED, kind=kind)
            writer.write(plain_json(failure.status, wire.error_body(failure), headers))
            return
        case _:
            pass
    writer.write(plain(200, body, headers=headers))


async def _stream(writer: asyncio.StreamWriter, wire: Wire, line: Line, fault: Fault | None, *, pace_s: float) -> None:
    events = wire.events(line)
    at = min(getattr(fault, "after_events", 1), len(events) - 1)
    for index, event in enumerate(events):
        if index == at and await _interrupted(writer, wire, fault):
            return
        writer.write(chunk(event))
        if pace_s:
            await writer.drain()
            await asyncio.sleep(pace_s)
    writer.write(chunk(b""))


async def _interrupted(writer: asyncio.StreamWriter, wire: Wire, fault: Fault | None) -> bool:
    """Play a fault in the middle of a stream; True when nothing comes after it."""
    match fault:
        case Cut(clean=True):
            writer.write(chunk(b""))
        case Cut():
            raise Hangup(reset=False)
        case Reset():
            await writer.drain()
            raise Hangup(reset=True)
        case Malformed():
            writer.write(chunk(wire.malformed_event()) + chunk(b""))
        case ErrorEvent(type=kind):
            writer.write(chunk(wire.error_event(Failure(wire.OVERLOADED, kind=kind))) + chunk(b""))
        case Stall():
            await _stall(writer, wire, fault)
            return False
        case _:
            return False
    return True


async def _stall(writer: asyncio.StreamWriter, wire: Wire, fault: Stall) -> None:
    end = asyncio.get_running_loop().time() + fault.seconds
    while (left := end - asyncio.get_running_loop().time()) > 0:
        await writer.drain()
        await asyncio.sleep(min(left, _PING_EVERY_S))
        if fault.pings:
            writer.write(chunk(wire.PING))


def hang_up(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    """Close a connection, with a TCP reset instead of an orderly end when asked to."""
    if not reset:
        writer.close()
        return
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
