"""`elexirion run`, `scan`, `tour`."""

import json
import os
import uuid
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from elexirion_dagster.cli.exits import run_exit_code
from elexirion_dagster.cli.finished import as_record, show_finished
from elexirion_dagster.cli.imports import allow_test_steps
from elexirion_dagster.cli.live import shown
from elexirion_dagster.errors import InputError
from elexirion_dagster.operations.models import NO_MODEL, model_note, model_tags
from elexirion_dagster.operations.pipelines import choose, scan_file
from elexirion_dagster.settings import Settings

_model = click.option("--model", metavar="PROVIDER/MODEL", help="Use this model instead of the pipeline's.")
_no_model = click.option("--no-model", is_flag=True, help="Ask no model; its steps are skipped.")
_stream = click.option("--stream", is_flag=True, help="Show the models' answers while they come in.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON, and nothing else.")


@dataclass(frozen=True, slots=True)
class _Options:
    """What `run` and `scan` have in common; `model` None is the pipeline's own."""

    model: str | None
    stream: bool
    as_json: bool
    test_steps: bool


@click.command()
@click.argument("target", metavar="FILE|NAME")
@click.argument("assignments", nargs=-1, metavar="[KEY=VALUE]...")
@_model
@_no_model
@_stream
@_as_json
@allow_test_steps
def run(target: str, assignments: tuple[str, ...], **given: Any) -> int:
    """Run a pipeline with its inputs as KEY=VALUE."""
    return _run(target, assignments, _options(**given))


@click.command()
@click.argument("path", default=".", metavar="[PATH]")
@_model
@_no_model
@_stream
@_as_json
def scan(path: str, **given: Any) -> int:
    """Analyze a repository or folder and write a report."""
    if not Path(path).is_dir():
        mend = "Give the path of a folder." if not Path(path).exists() else "Give the folder it lies in."
        raise InputError(f"{path} is no folder", mend=mend)
    # By its path: a scanned repository's own pipelines_yaml/ must not get to say what a scan of it does.
    return _run(str(scan_file()), (f"repo={path}",), _options(**given))


def _options(*, model: str | None, no_model: bool, stream: bool, as_json: bool, test_steps: bool = False) -> _Options:
    if model and no_model:
        raise InputError("--model and --no-model exclude each other", mend="Give one of them.")
    if stream and as_json:
        raise InputError("--stream and --json exclude each other", mend="Give one of them.")
    return _Options(NO_MODEL if no_model else model, stream, as_json, test_steps)


def _run(target: str, assignments: tuple[str, ...], options: _Options) -> int:
    """Check inputs, say which model is asked, run, show the outcome; returns the exit code."""
    settings = Settings.from_env(os.environ)
    chosen = choose(target, assignments, settings, test_steps=options.test_steps)
    run_id = str(uuid.uuid4())
    if not options.as_json:
        click.echo(model_note(chosen.pipeline, chosen.pipelines, options.model, settings), err=True)
    # Dagster takes 1.5 s to import (measured); commands that run nothing need not wait for it.
    from elexirion_dagster.operations.launch import execute  # noqa: PLC0415

    journal, tags = settings.home / "journal" / run_id, model_tags(options.model, stream=options.stream)
    with nullcontext() if options.as_json else shown(journal, steps=len(chosen.pipeline.steps)):
        finished = execute(
            chosen.file,
            chosen.inputs,
            run_id=run_id,
            tags=tags,
            settings=settings,
            test_steps=options.test_steps,
        )
    if options.as_json:
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
    click.echo("[the model is a script] look further: elexirion outcomes, elexirion up")
    return run_exit_code(finished.status, finished.cause)
