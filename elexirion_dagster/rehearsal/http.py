"""As much HTTP/1.1 as a loopback server needs: requests with a length, plain answers, chunked streams."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from elexirion_dagster.errors import InputError
from elexirion_dagster.hosts import Host
from elexirion_dagster.records import Json

_MAX_BODY = 64_000_000
_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_MARK = "x-elexirion-rehearsal: script\r\n"


@dataclass(frozen=True, slots=True)
class Incoming:
    """One request; header names are lower case, `query` is what stands after the question mark."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


async def read_request(reader: asyncio.StreamReader) -> Incoming | None:
    """Read the next request; None when the peer has closed. Raises InputError."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except asyncio.LimitOverrunError as error:
        raise InputError("the head is too long") from error
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    try:
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        length = int(headers.get("content-length", "0"))
    except ValueError as error:
        raise InputError("the head is not HTTP/1.1") from error
    if "transfer-encoding" in headers or not 0 <= length <= _MAX_BODY:
        raise InputError(f"the body needs a content-length of at most {_MAX_BODY}")
    try:
        body = await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    if sum(line.lower().startswith("host:") for line in lines) != 1:
        raise InputError("the head has no Host or more than one")
    path, _, query = target.partition("?")
    return Incoming(method, path, query, headers, body)


def is_from_a_page(incoming: Incoming) -> bool:
    """Whether a web page sent a request: it names an origin, or asks for a server that is not this machine."""
    host = Host.parse(incoming.headers["host"])
    if host is None or not host.is_loopback:
        return True
    return "origin" in incoming.headers or incoming.headers.get("sec-fetch-site", "none") != "none"


def plain(
    status: int, body: bytes, *, kind: str = "application/json", headers: Mapping[str, str] | None = None
) -> bytes:
    """Build a whole answer."""
    more = {"content-type": kind, "content-length": str(len(body)), **(headers or {})}
    return _head(status, more) + body


def plain_json(status: int, value: Json, headers: Mapping[str, str] | None = None) -> bytes:
    """Build a whole JSON answer."""
    return plain(status, json.dumps(value).encode(), headers=headers)


def stream_head(kind: str, headers: Mapping[str, str]) -> bytes:
    """Build the head of a stream of this content type."""
    return _head(200, {"content-type": kind, "transfer-encoding": "chunked", **headers})


def chunk(data: bytes) -> bytes:
    """Frame a piece of a stream; the empty one ends it."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {_PHRASES.get(status, 'Scripted')}\r\n{_MARK}{lines}\r\n".encode("latin-1")
