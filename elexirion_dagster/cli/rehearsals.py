"""`elexirion rehearse`, `rehearsal-server`."""

import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import click

from elexirion_dagster.cli.exits import DONE, run_exit_code
from elexirion_dagster.cli.finished import as_record, record_text
from elexirion_dagster.operations.pipelines import choose
from elexirion_dagster.operations.rehearsal_server import serve, sight, variables
from elexirion_dagster.settings import Settings

if TYPE_CHECKING:
    from elexirion_dagster.operations.rehearsals import Rehearsed

MARK = "[the model is a script] "

_script = click.Path(path_type=Path)


@click.command()
@click.argument("target", metavar="FILE|NAME")
@click.argument("assignments", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--script", required=True, type=_script, metavar="S.yaml", help="What the models answer, and the faults.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON, and nothing else.")
def rehearse(target: str, assignments: tuple[str, ...], *, script: Path, as_json: bool) -> int:
    """Run a pipeline whose models are a script: no key, no cost, recorded apart from your own runs."""
    settings = Settings.from_env(os.environ)
    chosen = choose(target, assignments, settings)
    if chosen.note:
        click.echo(chosen.note, err=True)
    # Dagster takes 1.5 s to import (measured); commands that run nothing need not wait for it.
    from elexirion_dagster.operations.rehearsals import rehearse as run  # noqa: PLC0415

    say = _mute if as_json else _say
    done = run(chosen, script, settings, run_id=str(uuid.uuid4()), say=say)
    if as_json:
        click.echo(record_text(_record(done)))
    else:
        _show(done)
    return run_exit_code(done.finished.status, done.finished.cause)


@click.command()
@click.argument("script", type=_script, metavar="S.yaml")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="Port on 127.0.0.1; any free one by default.")
def rehearsal_server(script: Path, *, port: int) -> int:
    """Play a script to any client on this machine until Ctrl-C; prints what points elexirion at it."""
    try:
        serve(script, port=port, ready=_ready, say=_note)
    except KeyboardInterrupt:
        return DONE


def _ready(base_url: str) -> None:
    """Notes for people on standard error, lines for a shell on standard output."""
    _note(f"base URL {base_url}, with /v1 for OpenAI-compatible clients; Ctrl-C ends it")
    for name, value in variables(base_url).items():
        click.echo(f"export {name}={value}")


def _say(line: str) -> None:
    click.echo(f"{MARK}{line}")


def _note(line: str) -> None:
    click.echo(f"{MARK}{line}", err=True)


def _mute(_line: str) -> None:
    """Nothing besides the JSON."""


def _record(done: "Rehearsed") -> dict[str, object]:
    played = {"resume": None, "model": "script", "calls": done.calls, "faults": dict(done.faults)}  # its server is gone
    return {**as_record(done.finished), **played}


def _show(done: "Rehearsed") -> None:
    """Outputs and reports, where it is recorded, what the server saw, how the run ended; every line says of what."""
    finished = done.finished
    for name, value in finished.outputs.items():
        for number, line in enumerate((value if isinstance(value, str) else repr(value)).splitlines()):
            _say(f"  {line}" if number else f"{name}: {line}")
    for kind, path in finished.reports.items():
        _say(f"report {kind}: {path}")
    _say(f"recorded apart from your own runs; look further with ELEXIRION_HOME={done.home} elexirion outcomes")
    _say(sight(done.calls, done.faults))
    _say(f"run {finished.run} {finished.status}")
    if finished.message and finished.status != "succeeded":
        for line in finished.message.splitlines():
            _note(line)
