"""Dagster's real web application on loopback servers, with and without the guard."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from dagster import DagsterInstance
from starlette.types import ASGIApp

from elexirion_dagster.redact import Redactor
from elexirion_dagster.web.dagster_ui import dagster_app
from elexirion_dagster.web.guard import Guard

PATIENCE_S = 60


@dataclass(frozen=True)
class Served:
    """A Dagster application, its instance and how often it was changed."""

    app: ASGIApp
    instance: DagsterInstance

    def changes(self) -> set[str]:
        """Everything that `mutation(name)` and reports of assets have changed, by name; it is forgotten."""
        storage = self.instance.event_log_storage
        names = set(storage.get_concurrency_keys())
        for name in names:
            storage.delete_concurrency_limit(name)
        assets = [key.path[-1] for key in self.instance.get_asset_keys()]
        self.instance.wipe_assets(self.instance.get_asset_keys())
        return names | set(assets)


def guard(app: ASGIApp, **options: Any) -> Guard:
    """The guard before an application."""
    return Guard(app, redactor=Redactor(secrets=["correct horse"]), **options)


def mutation(name: str) -> str:
    """A mutation that leaves this name in the instance."""
    return f'mutation {{ setConcurrencyLimit(concurrencyKey: "{name}", limit: 1) }}'


@contextmanager
def opened(folder: Path, **options: Any) -> Iterator[Served]:
    """Dagster's application over an instance in `folder`, without code locations."""
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    workspace = folder / "workspace.yaml"
    workspace.write_text("load_from: []\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(folder))
        with (
            dagster_app(workspace, **options) as app,
            DagsterInstance.from_config(str(folder)) as instance,
        ):
            yield Served(app, instance)


@contextmanager
def listening(app: ASGIApp) -> Iterator[int]:
    """Serve an application on 127.0.0.1; the port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            wait_for(lambda: server.started or not thread.is_alive())
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)


def wait_for(look: Callable[[], bool]) -> None:
    """Wait until `look` says so."""
    deadline = time.monotonic() + PATIENCE_S
    while not look():
        assert time.monotonic() < deadline, "nothing came in time"
        time.sleep(0.01)


def send_raw(port: int, lines: Sequence[str], body: bytes = b"") -> str:
    """The status line and all that follows of the answer to a request written by hand."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall("".join(f"{line}\r\n" for line in [*lines, "Connection: close", ""]).encode() + body)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
    return answer.decode()


def client(app: ASGIApp, url: str = "http://127.0.0.1:3000") -> httpx.AsyncClient:
    """A client of an application in this process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=url)
