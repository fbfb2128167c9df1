"""Real clients at real servers on loopback."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gemini_wire import legacy
from pydantic import SecretStr

from elexirion_dagster.providers.base import Provider
from elexirion_dagster.providers.gemini import GeminiProvider
from elexirion_dagster.rehearsal.script import Script
from elexirion_dagster.rehearsal.server import RehearsalServer

Dial = Callable[..., tuple[RehearsalServer, Provider]]


@pytest.fixture
def dial_to() -> Iterator[Callable[[type[Any]], Dial]]:
    """Start a server with a script, and a client of this kind that talks to it."""
    opened: list[tuple[RehearsalServer, Provider]] = []

    def of(kind: type[Any]) -> Dial:
        def start(**script: Any) -> tuple[RehearsalServer, Provider]:
            server = RehearsalServer(Script.model_validate(script)).__enter__()
            opened.append((server, kind(SecretStr("sk-test"), server.base_url)))
            return opened[-1]

        return start

    yield of
    for server, provider in opened:
        provider.close()
        server.__exit__(None, None, None)


@pytest.fixture(params=["gemini", "gemini-legacy"])
def dial_gemini(request: pytest.FixtureRequest, dial_to: Callable[[type[Any]], Dial]) -> Dial:
    """The same for both of Google's clients."""
    return dial_to(GeminiProvider if request.param == "gemini" else legacy())
