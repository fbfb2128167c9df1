"""`elexirion run`, `resume`, `tour`."""

import os
import uuid
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from elexirion_dagster.cli.exits import run_exit_code
from elexirion_dagster.cli.finished import announce, as_record, record_text, show_finished
from elexirion_dagster.cli.imports import allow_test_steps
from elexirion_dagster.cli.live import shown
from elexirion_dagster.cli.options import AS_JSON, MODEL, STREAM, WITHOUT_MODEL, Options, options
from elexirion_dagster.operations.models import isolation_note, model_note, model_tags
from elexirion_dagster.operations.pipelines import choose
from elexirion_dagster.settings import Settings

if TYPE_CHECKING:
    from elexirion_dagster.operations.launch import Finished


@click.command()
@click.argument("target", metavar="FILE|NAME")
@click.argument("assignments", nargs=-1, metavar="[KEY=VALUE]...")
@MODEL
@WITHOUT_MODEL
@STREAM
@AS_JSON
@allow_test_steps
def run(target: str, assignments: tuple[str, ...], **given: Any) -> int:
    """Run a pipeline with its inputs as KEY=VALUE."""
    return _run(target, assignments, options(**given))


def _run(target: str, assignments: tuple[str, ...], given: Options) -> int:
    """Check inputs, say which model is asked, run, show the outcome; returns the exit code."""
    settings = Settings.from_env(os.environ)
    chosen = choose(target, assignments, settings, test_steps=given.test_steps)
    run_id = str(uuid.uuid4())
    if chosen.note:
        click.echo(chosen.note, err=True)
    if not given.as_json:
        click.echo(model_note(chosen.pipeline, chosen.pipelines, given.model, settings), err=True)
        click.echo(f"pipeline {chosen.file}", err=True)
        announce(run_id)
    if note := isolation_note(chosen.pipeline, chosen.pipelines, settings):
        click.secho(note, err=True, bold=True)
    # Dagster takes 1.5 s to import (measured); commands that run nothing need not wait for it.
    from elexirion_dagster.operations.launch import execute  # noqa: PLC0415

    journal, tags = settings.home / "journal" / run_id, model_tags(given.model, stream=given.stream)
    with nullcontext() if given.as_json else shown(journal, steps=len(chosen.pipeline.steps)):
        finished = execute(
            chosen.file,
            chosen.inputs,
            run_id=run_id,
            tags=tags,
            settings=settings,
            test_steps=given.test_steps,
        )
    return _told(finished, as_json=given.as_json)


def _told(finished: "Finished", *, as_json: bool) -> int:
    """Show the outcome; returns the exit code."""
    if as_json:
        click.echo(record_text(as_record(finished)))
    else:
        show_finished(finished)
    return run_exit_code(finished.status, finished.cause)


@click.command()
@click.argument("run_id", metavar="RUN")
@AS_JSON
def resume(run_id: str, *, as_json: bool) -> int:
    """Go on with a run that was killed, cancelled or failed, given by its id or the beginning of one.

    Finished steps and paid answers are taken from the journal. Inputs, models and prompts are those the run began with.
    """
    # Dagster takes 1.5 s to import (measured); commands that run nothing need not wait for it.
    from elexirion_dagster.operations.resume import resumable  # noqa: PLC0415

    settings, new = Settings.from_env(os.environ), str(uuid.uuid4())
    with resumable(run_id, settings) as found:
        pipeline = found.loaded.pipeline
        if not as_json:
            click.echo(f"going on with run {found.run.run_id} of {pipeline.name}", err=True)
            click.echo(model_note(pipeline, found.loaded.pipelines, found.model, settings), err=True)
            announce(new)
        with nullcontext() if as_json else shown(settings.home / "journal" / found.root, steps=len(pipeline.steps)):
            finished = found.go_on(new)
    return _told(finished, as_json=as_json)


@click.command()
def tour() -> int:
    """See a retry, a typed answer and a failover without any key: the model is a script."""
    # Dagster takes 1.5 s to import (measured); commands that run nothing need not wait for it.
    from elexirion_dagster.operations.tour import take  # noqa: PLC0415

    finished = take(Settings.from_env(os.environ), lambda line: click.echo(f"[the model is a script] {line}"))
    return run_exit_code(finished.status, finished.cause)
