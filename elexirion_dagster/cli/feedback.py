"""`elexirion feedback`."""

import os
from pathlib import Path

import click

from elexirion_dagster.reports.report import visible
from elexirion_dagster.settings import Settings


@click.command()
@click.argument("run")
@click.argument("step")
@click.argument("mark", metavar="good|bad|SCORE")
@click.option("--comment", help="Why, in words; they reach whoever improves the prompt.")
@click.option(
    "--expected",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="What would have been right: JSON or YAML where the step has an output, else text.",
)
@click.option("--pipeline", metavar="FILE|NAME", help="The answer's pipeline, where it is not among those found.")
def feedback(
    *, run: str, step: str, mark: str, comment: str | None, expected: Path | None, pipeline: str | None
) -> None:
    """Say what an answer of a run was worth: good, bad or a number from 0 to 1.

    STEP is a path such as 'review[src/a.py].look', or a step that gave one answer.
    """
    # DuckDB takes 150 ms to import (measured); other commands need not wait for it.
    from elexirion_dagster.operations.feedback import Word, say  # noqa: PLC0415

    said = say(Settings.from_env(os.environ), run, step, Word(mark, comment, expected, pipeline))
    click.echo(f"{visible(said.path)} of run {said.root_run} is worth {said.score:g} to {said.pipeline}/{said.step}")
