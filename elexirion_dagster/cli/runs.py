"""`elexirion run`, `tour`."""

import json
import os
import uuid
from contextlib import nullcontext
from typing import Any

import click

from elexirion_dagster.cli.exits import run_exit_code
from elexirion_dagster.cli.finished import as_record, show_finished
from elexirion_dagster.cli.imports import allow_test_steps
from elexirion_dagster.cli.live import shown
from elexirion_dagster.cli.options import AS_JSON, MODEL, STREAM, WITHOUT_MODEL, Options, options
from elexirion_dagster.operations.models import isolation_note, model_note, model_tags
from elexirion_dagster.operations.pipelines import choose
from elexirion_dagster.settings import Settings


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
    if given.as_json:
        click.echo(json.dumps(as_record(finished), ensure_ascii=False, indent=2))
    else:
        show_finished(finished)
    return run_exit_code(finished.status, finished.cause)


@click.command()
def tour() -> int:
    """See a retry, a typed answer and a failover without any key: the model is a script."""
    # Dagster takes 1.5 s to import (measured); commands that run nothing need not wait for it.
    from elexirion_dagster.operations.tour import take  # noqa: PLC0415

    finished = take(Settings.from_env(os.environ), lambda line: click.echo(f"[the model is a script] {line}"))
    return run_exit_code(finished.status, finished.cause)
