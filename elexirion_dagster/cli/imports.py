"""`elexirion import`."""

import os
from pathlib import Path

import click

from elexirion_dagster.operations.imports import import_file
from elexirion_dagster.settings import Settings

allow_test_steps = click.option(
    "--allow-test-steps", "test_steps", is_flag=True, help="Allow test_echo, a step of pipeline_ex's test fixtures."
)


@click.command("import")
@click.argument("target", metavar="FILE")
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Save the native file here.")
@allow_test_steps
def import_pipeline(target: str, output: Path | None, *, test_steps: bool) -> None:
    """Print a pipeline written for pipeline_ex in this language; comments list what was changed."""
    imported = import_file(target, Settings.from_env(os.environ), output=output, test_steps=test_steps)
    if output is None:
        click.echo(imported.text, nl=False)
        return
    for note in imported.notes:
        click.echo(str(note), err=True)
    click.echo(f"written: {output}")
