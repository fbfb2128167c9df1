"""A walk through a real run whose model is a script: no key, no cost, nothing leaves the machine."""

import uuid
from collections.abc import Callable
from importlib.resources import as_file, files

from elexirion_dagster.operations.launch import Finished, execute
from elexirion_dagster.operations.rehearsal_server import rehearsed
from elexirion_dagster.operations.rehearsals import rehearsal_home, rows
from elexirion_dagster.rehearsal.script import load_script
from elexirion_dagster.rehearsal.server import RehearsalServer
from elexirion_dagster.settings import Settings
from elexirion_dagster.tags import REHEARSAL_TAG


def take(settings: Settings, say: Callable[[str], None]) -> Finished:
    """Run the tour's pipeline against the rehearsal server and tell what happened, line by line."""
    room = files("elexirion_dagster.rehearsal")
    with as_file(room / "tour.yaml") as pipeline, as_file(room / "tour_script.yaml") as script:
        say(f"pipeline {pipeline}")
        with RehearsalServer(load_script(script)) as server:
            say(f"the server that plays the models listens on {server.base_url}")
            home = rehearsal_home(settings.home)
            played = rehearsed(settings.model_copy(update={"home": home.path}), server.base_url)
            tags = {REHEARSAL_TAG: "tour"}
            finished = execute(pipeline, {}, run_id=str(uuid.uuid4()), tags=tags, settings=played)
            say(f"run {finished.run} {finished.status}; the server was called {server.count} times")
    if finished.message:
        say(finished.message)
    for name, value in finished.outputs.items():
        say(f"{name}: {value}")
    rows(home, finished.run, say)
    say(f"recorded apart from your own runs; look further with ELEXIRION_HOME={home.path} elexirion outcomes")
    return finished
