"""A walk through a real run whose model is a script: no key, no cost, nothing leaves the machine."""

import uuid
from collections.abc import Callable
from importlib.resources import as_file, files

from pydantic import SecretStr

from elexirion_dagster.operations.launch import Finished, execute
from elexirion_dagster.rehearsal.script import load_script
from elexirion_dagster.rehearsal.server import RehearsalServer
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.database import ingest, query
from elexirion_dagster.store.home import open_home

_CALLS = """
select path, provider || '/' || model as model, attempt, status, coalesce(cause, '') as cause
from calls where run = ? order by asked_at
"""


def take(settings: Settings, say: Callable[[str], None]) -> Finished:
    """Run the tour's pipeline against the rehearsal server and tell what happened, line by line."""
    room = files("elexirion_dagster.rehearsal")
    with as_file(room / "tour.yaml") as pipeline, as_file(room / "tour_script.yaml") as script:
        say(f"pipeline {pipeline}")
        with RehearsalServer(load_script(script)) as server:
            say(f"the server that plays the models listens on {server.base_url}")
            finished = execute(pipeline, {}, run_id=str(uuid.uuid4()), tags={}, settings=_rehearsed(settings, server))
            say(f"run {finished.run} {finished.status}; the server was called {server.count} times")
    for name, value in finished.outputs.items():
        say(f"{name}: {value}")
    _rows(settings, finished.run, say)
    return finished


def _rehearsed(settings: Settings, server: RehearsalServer) -> Settings:
    """The same settings with both providers at the rehearsal server."""
    return settings.model_copy(
        update={
            "anthropic_api_key": SecretStr("rehearsal"),
            "anthropic_base_url": server.base_url,
            "local_base_url": f"{server.base_url}/v1",
        }
    )


def _rows(settings: Settings, run: str, say: Callable[[str], None]) -> None:
    """The run's rows of the table `calls`, in the order in which they were sent."""
    home = open_home(settings.home)
    ingest(home)
    rows = query(home, _CALLS, (run,))
    say("rows of the table `calls` in DuckDB:")
    widths = [
        max(len(str(cell)) for cell in (name, *(row[i] for row in rows.rows))) for i, name in enumerate(rows.columns)
    ]
    for row in (rows.columns, *rows.rows):
        say("  " + "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
