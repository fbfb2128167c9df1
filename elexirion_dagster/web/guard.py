"""A layer in front of Dagster's web server that lets in this machine's own browser tabs and programs, and no web page.

Whoever can open a connection to Dagster may start runs, and a browser opens one for any page that asks it to. So each
request, websockets included, is checked for the server that it asks for (`Host`) and the page that sent it (`Origin`,
`Sec-Fetch-Site`) before Dagster sees it.
"""

import asyncio
import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from elexirion_dagster.errors import InputError
from elexirion_dagster.hosts import Host, Origin
from elexirion_dagster.redact import Redactor
from elexirion_dagster.web.masking import masked_request
from elexirion_dagster.web.mutations import has_mutation

MOST_BODY_BYTES = 10_000_000
MOST_FRAME_BYTES = 1_000_000
_GRAPHQL = "/graphql"
_REPORTS = ("/report_asset_materialization", "/report_asset_check", "/report_asset_observation")
_NO_LINKS = frozenset({_GRAPHQL, "/notebook", "/dagit/notebook"})
"""What a link on a foreign page does not open: queries, and HTML that Dagster renders from a file named in the URL."""
_FRAMES = [(b"x-frame-options", b"DENY"), (b"content-security-policy", b"frame-ancestors 'none'")]
"""Two policies in one answer both hold, so Dagster's own stays as it is."""
_JSON = "application/json"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
"""For Starlette `/graphql` and a line end is the same path as `/graphql`."""
_POLICY_VIOLATION, _TOO_BIG = 1008, 1009


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request goes no further: a status, and a text for a person."""

    status: int
    text: str


_TOO_LONG = Refusal(413, f"The body has more than {MOST_BODY_BYTES:,} bytes. Send a smaller request.")


class Guard:
    """An ASGI application that hands on to `app` what passes its checks.

    `hosts` are names that the server has beside the loopback ones, `path_prefix` is where `app` serves its paths,
    `redactor` knows the secrets that mutations may not ask Dagster to store.
    """

    def __init__(self, app: ASGIApp, *, redactor: Redactor, hosts: Collection[str] = (), path_prefix: str = "") -> None:
        self._app = app
        self._redactor = redactor
        self._hosts = frozenset(hosts)
        self._path_prefix = path_prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection. Raises ValueError for a kind of connection that nothing here checks."""
        match scope["type"]:
            case "lifespan":
                await self._app(scope, receive, send)
            case "http":
                await self._http(scope, receive, partial(_send_unframed, send))
            case "websocket":
                await self._websocket(scope, receive, send)
            case kind:
                raise ValueError(f"connections of the type {kind!r} are not served")

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._wrong_server(scope) or self._wrong_page(scope) or self._wrong_form(scope)
        if refusal is None and scope["method"] == "POST":
            events = await _read(receive) if _length(scope) <= MOST_BODY_BYTES else None
            refusal = _TOO_LONG if events is None else await self._mask(scope, events)
            receive = _Replayed(events or [], receive)
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await _refuse(refusal, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._wrong_server(scope) or self._wrong_page(scope)
        if refusal is None:
            frames = _Frames(receive, send)
            await self._app(scope, frames.receive, frames.send)
        elif "websocket.http.response" in scope.get("extensions", {}):
            await _refuse(refusal, partial(_send_unframed, send), kind="websocket.http.response")
        else:
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": ""})

    async def _mask(self, scope: Scope, events: list[Message]) -> Refusal | None:
        """Put masks in the place of secrets in the body of a mutation; refuse one that cannot be looked through."""
        if self._path(scope) != _GRAPHQL or events[-1]["type"] != "http.request":
            return None
        try:
            body = json.loads(b"".join(event.get("body", b"") for event in events))
        except (ValueError, RecursionError):
            return Refusal(400, "The body is not JSON, or nested too deeply. Send one JSON object with a 'query'.")
        if not isinstance(body, dict):
            return Refusal(400, "The body is not a JSON object. Send one operation at a time.")
        try:
            masked, places = await asyncio.to_thread(masked_request, body, self._redactor)
        except InputError as error:
            return Refusal(400, str(error))
        if places:
            events[:] = [{"type": "http.request", "body": json.dumps(masked).encode()}]
        return None

    def _wrong_server(self, scope: Scope) -> Refusal | None:
        """Refuse a request for a server of another name, as a page sends it whose name was pointed at this machine."""
        asked = _headers(scope, b"host")
        host = Host.parse(asked[0]) if len(asked) == 1 else None
        if host is not None and (host.is_loopback or host.name in self._hosts):
            return None
        name = "without a single valid Host header" if host is None else f"for the host {host.name!r}"
        return Refusal(
            421,
            f"This server does not answer requests {name}. It answers to localhost, 127.0.0.1 and [::1], so that no "
            "web page can reach it under a name of its own (DNS rebinding).\n\n"
            "If you reach it through a proxy, a port forward or a container, put the host name that the browser shows "
            "into the environment variable ELEXIRION_HOSTS (several are separated by commas) and start "
            "`elexirion up` again.",
        )

    def _wrong_page(self, scope: Scope) -> Refusal | None:
        """Refuse what a page of another origin sends; a link there may open a page of this server."""
        origins, sites = _headers(scope, b"origin"), _headers(scope, b"sec-fetch-site")
        if self._is_own_page(scope, origins, sites) or self._is_opened(scope):
            return None
        sender = f"from a page of {origins[0][:200]!a}" if origins else "from a page of another origin"
        return Refusal(
            403,
            f"This request comes {sender}, and only pages of this server itself may send requests to it.\n\n"
            "If this is your own page, reached through a proxy or a port forward: put the host name that the browser "
            "shows into the environment variable ELEXIRION_HOSTS, let the proxy pass the Host header on unchanged, and "
            "start `elexirion up` again. A program that is no browser leaves the Origin header out.",
        )

    def _is_own_page(self, scope: Scope, origins: list[str], sites: list[str]) -> bool:
        """Whether the headers that only a browser writes, where they are there, name a page of this server."""
        if sites not in ([], ["same-origin"], ["none"]):
            return False
        if not origins:
            return True
        origin, host = Origin.parse(origins[0]), Host.parse(_headers(scope, b"host")[0])
        if len(origins) > 1 or origin is None or host is None:
            return False
        if origin.is_at(host):
            secure = scope["scheme"] in {"https", "wss"}
            return host.name in self._hosts or origin.scheme == ("https" if secure else "http")
        # A port forward that asks for localhost in the place of the name that the browser knows.
        return sites == ["same-origin"] and origin.host.name in self._hosts

    def _is_opened(self, scope: Scope) -> bool:
        """Whether the browser opens an address as the page of a tab or window."""
        return (
            scope["type"] == "http"
            and scope["method"] == "GET"
            and _headers(scope, b"sec-fetch-mode") == ["navigate"]
            and _headers(scope, b"sec-fetch-dest") == ["document"]
            and self._path(scope) not in _NO_LINKS
        )

    def _wrong_form(self, scope: Scope) -> Refusal | None:
        """Refuse what may change something unless it is a POST of JSON, which no page sends elsewhere unasked."""
        path, method = self._path(scope), scope["method"]
        if not scope["path"].startswith("/") or _CONTROL.search(scope["path"]):
            return Refusal(
                400, "The path is invalid. Ask for one that begins with a slash, without control characters."
            )
        if path != _GRAPHQL and not path.startswith(_REPORTS):
            return None
        if method == "POST":
            if _is_json(scope):
                return None
            return Refusal(415, f"{path} takes JSON only. Send the body with the header 'Content-Type: {_JSON}'.")
        if path != _GRAPHQL:
            text = f"{path} takes POST only. Send one with the header 'Content-Type: {_JSON}'."
            return Refusal(405, text)
        return _wrong_documents(text for name, text in _query(scope) if name == "query")

    def _path(self, scope: Scope) -> str:
        return str(scope["path"]).removeprefix(self._path_prefix)


class _Frames:
    """The two directions of a websocket that carries GraphQL; one that asks for a mutation is closed."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._is_closed = False

    async def receive(self) -> Message:
        """Return the next event, which is the end of the connection where a frame is refused."""
        message = await self._receive()
        wrong = _wrong_frame(message) if message["type"] == "websocket.receive" else None
        if wrong is None:
            return message
        code, reason = wrong
        await self.send({"type": "websocket.close", "code": code, "reason": reason})
        self._is_closed = True
        return {"type": "websocket.disconnect", "code": code, "reason": reason}

    async def send(self, message: Message) -> None:
        """Send an event; what comes after the close of a refused connection is dropped."""
        if not self._is_closed:
            await self._send(message)


def _wrong_frame(message: Message) -> tuple[int, str] | None:
    """The code and reason to close with, of at most 123 bytes; None for a frame that may pass."""
    text = message.get("text") or ""
    if len(text) > MOST_FRAME_BYTES:
        return _TOO_BIG, f"Send frames of at most {MOST_FRAME_BYTES:,} bytes."
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        frame = None
    payload = frame.get("payload") or {} if isinstance(frame, dict) else None
    query = payload.get("query", "") if isinstance(payload, dict) else None
    if not isinstance(query, str):
        return _POLICY_VIOLATION, "Send JSON objects whose payload is an object with the query as a string."
    refusal = _wrong_documents([query])
    return None if refusal is None else (_POLICY_VIOLATION, refusal.text.split("\n")[0][:120])


def _wrong_documents(documents: Iterable[str]) -> Refusal | None:
    """Refuse GraphQL that came by GET or a websocket when it would change something."""
    try:
        wrong = any(has_mutation(text) for text in documents if text)
    except InputError as error:
        return Refusal(400, error.message)
    text = f"GraphQL mutations are sent by POST to {_GRAPHQL} with 'Content-Type: {_JSON}'."
    return Refusal(405, f"{text}\n\nUse POST, or send a query.") if wrong else None


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for found, value in scope["headers"] if found == name]


def _query(scope: Scope) -> list[tuple[str, str]]:
    """Read the query string as Starlette does."""
    return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _is_json(scope: Scope) -> bool:
    types = _headers(scope, b"content-type")
    return len(types) == 1 and types[0].partition(";")[0].strip().lower() == _JSON


def _length(scope: Scope) -> int:
    given = _headers(scope, b"content-length")
    return int(given[0]) if given and given[0].isdecimal() else 0


async def _read(receive: Receive) -> list[Message] | None:
    """The events that a body comes in, to its end or that of the connection; None when it is too long."""
    events: list[Message] = []
    size = 0
    while not events or events[-1].get("more_body", False):
        events.append(await receive())
        size += len(events[-1].get("body", b""))
        if size > MOST_BODY_BYTES:
            return None
    return events


class _Replayed:
    """A `receive` that begins with events that were read before."""

    def __init__(self, events: list[Message], receive: Receive) -> None:
        self._events = iter(events)
        self._receive = receive

    async def __call__(self) -> Message:
        return next(self._events, None) or await self._receive()


async def _send_unframed(send: Send, message: Message) -> None:
    """Send an event of an answer that no page may show in a frame."""
    if message["type"].endswith("http.response.start"):
        kept = [(name, value) for name, value in message.get("headers", []) if name.lower() != b"x-frame-options"]
        message = {**message, "headers": [*kept, *_FRAMES]}
    await send(message)


async def _refuse(refusal: Refusal, send: Send, *, kind: str = "http.response") -> None:
    body = f"{refusal.text}\n".encode()
    headers: list[tuple[bytes, Any]] = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": f"{kind}.start", "status": refusal.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})
