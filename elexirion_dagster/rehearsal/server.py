"""A loopback server that speaks the providers' wire formats and plays a script."""

import argparse
import asyncio
import json
import signal
import sys
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from elexirion_dagster.errors import ElexirionError, InputError
from elexirion_dagster.records import Json
from elexirion_dagster.rehearsal import completions, messages
from elexirion_dagster.rehearsal.contents import Contents, method_of
from elexirion_dagster.rehearsal.http import Incoming, is_from_a_page, plain_json, read_request
from elexirion_dagster.rehearsal.perform import Hangup, Wire, hang_up, perform
from elexirion_dagster.rehearsal.play import Failure, Play, tokens
from elexirion_dagster.rehearsal.script import Fault, Script, load_script

_HOST = "127.0.0.1"
_KEPT_REQUESTS = 1000
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key", "x-goog-api-key"})
_WIRES: Mapping[str, Wire] = MappingProxyType({"/v1/messages": messages, "/v1/chat/completions": completions})


@dataclass(frozen=True, slots=True)
class Recorded:
    """A request as it came, without the headers that carry keys."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Json


class RehearsalServer:
    """Play a script on 127.0.0.1 for as long as the `with` block lasts.

    `base_url` is what Anthropic's and Google's SDKs take; OpenAI-compatible clients take `base_url` + "/v1". `requests`
    holds the last 1,000 requests, `connections` counts those opened, `peak_in_flight` is the most model calls under way
    at once, `faults` how many of each kind were played.
    """

    def __init__(self, script: Script | None = None, *, port: int = 0) -> None:
        self.requests: deque[Recorded] = deque(maxlen=_KEPT_REQUESTS)
        self.peak_in_flight = 0
        self.connections = 0
        self.faults: Counter[str] = Counter()
        """How many of each kind were played."""
        self.base_url = ""
        self._play = Play(script or Script())
        self._port = port
        self._in_flight = 0
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="rehearsal", daemon=True)

    @property
    def count(self) -> int:
        """How many model calls have come in."""
        return self._play.count

    @property
    def refused(self) -> int:
        """How many of them the script's rate refused."""
        return self._play.refused

    def __enter__(self) -> Self:
        started = asyncio.start_server(self._serve, _HOST, self._port, backlog=1024)
        try:
            self._server = self._loop.run_until_complete(started)
        except OSError as error:
            self._loop.close()
            raise InputError(f"expected port {self._port} to be free, came: {error}", mend="Take port 0.") from error
        self.base_url = f"http://{_HOST}:{self._server.sockets[0].getsockname()[1]}"
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._stop())
        finally:
            self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  a coroutine that runs has a task
        self._connections.add(task)
        self.connections += 1
        reset = False
        try:
            while (incoming := await read_request(reader)) is not None:
                await self._answer(incoming, writer)
        except Hangup as hangup:
            reset = hangup.reset
        except InputError as error:
            writer.write(plain_json(400, {"error": {"type": "invalid_request_error", "message": error.message}}))
        except (ConnectionError, asyncio.CancelledError):
            reset = True
        finally:
            self._connections.discard(task)
            hang_up(writer, reset=reset)

    async def _answer(self, incoming: Incoming, writer: asyncio.StreamWriter) -> None:
        if is_from_a_page(incoming):
            message = "Web pages may not use this server. Ask it from a program, at http://127.0.0.1."
            writer.write(plain_json(403, messages.error_body(Failure(403, message))))
            raise Hangup(reset=False)
        body = _body(incoming)
        headers = {name: value for name, value in incoming.headers.items() if name not in _SECRET_HEADERS}
        self.requests.append(Recorded(incoming.method, incoming.path, headers, body))
        gemini = method_of(incoming.path)
        match incoming.method, gemini or incoming.path:
            case "GET", "/v1/models":
                writer.write(plain_json(200, self._models()))
            case "POST", "/v1/messages/count_tokens":
                writer.write(plain_json(200, {"input_tokens": tokens(messages.asked(body).texts)}))
            case "POST", "countTokens":
                writer.write(plain_json(200, {"totalTokens": tokens(Contents().asked(_counted(body)).texts)}))
            case "POST", "generateContent" | "streamGenerateContent":
                await self._model_call(Contents.of(gemini == "streamGenerateContent", incoming.query), body, writer)
            case "POST", path if path in _WIRES:
                await self._model_call(_WIRES[path], body, writer)
            case method, path:
                writer.write(plain_json(404, messages.error_body(Failure(404, f"{method} {path}"))))

    async def _model_call(self, wire: Wire, body: Mapping[str, Json], writer: asyncio.StreamWriter) -> None:
        if why := wire.refusal(body):
            writer.write(plain_json(400, wire.error_body(Failure(400, why))))
            return
        asked = wire.asked(body)
        line, fault = self._play.next(asked)
        if fault is not None:
            self.faults[_kind(fault)] += 1
        self._in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self._in_flight)
        try:
            pace_s = self._play.script.pace_ms / 1000
            await perform(writer, wire, line, fault, stream=asked.stream, pace_s=pace_s)
        finally:
            self._in_flight -= 1

    def _models(self) -> Json:
        models = [{"id": name, "object": "model", "type": "model"} for name in self._play.script.models]
        return {"object": "list", "data": models, "has_more": False}


def _body(incoming: Incoming) -> Json:
    if incoming.method != "POST":
        return None
    try:
        body = json.loads(incoming.body)
    except ValueError as error:
        raise InputError(f"the body is not JSON: {error}") from error
    turns = "contents" if method_of(incoming.path) else "messages"
    if not isinstance(body, dict) or not isinstance(_counted(body).get(turns), list):
        raise InputError(f"the body is not an object with {turns}")
    return body


def _counted(body: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return what a count is asked of: the turns alone, or a whole request."""
    whole = body.get("generateContentRequest")
    return whole if isinstance(whole, dict) else body


def _kind(fault: Fault) -> str:
    return f"status {fault.status}" if fault.kind == "status" else fault.kind


def main(arguments: Sequence[str]) -> int:
    """Play a script until a signal comes; the URL is the one line on standard output."""
    parser = argparse.ArgumentParser(prog="python -m elexirion_dagster.rehearsal.server", description=__doc__)
    parser.add_argument("script", type=Path, help="a YAML file, see rehearsal/script.py")
    parser.add_argument("--port", type=int, default=0, help="default: any free one")
    given = parser.parse_args(arguments)
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    try:
        with RehearsalServer(load_script(given.script), port=given.port) as server:
            sys.stdout.write(f"{server.base_url}\n")
            sys.stdout.flush()
            done.wait()
    except ElexirionError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
