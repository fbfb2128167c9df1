"""`elexirion health`."""

import json
import os
from dataclasses import asdict

import click
from rich.table import Table
from rich.text import Text

from elexirion_dagster.cli.exits import DONE, FAILED
from elexirion_dagster.cli.finished import wide
from elexirion_dagster.settings import Settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As a JSON list.")
def health(*, as_json: bool) -> int:
    """How providers, pipelines and the queue are; exit code 1 when something is critical."""
    # Dagster takes 1.5 s to import (measured); other commands need not wait for it.
    from elexirion_dagster.operations.health import health as measured  # noqa: PLC0415

    parts = measured(Settings.from_env(os.environ))
    if as_json:
        click.echo(json.dumps([asdict(part) for part in parts], ensure_ascii=False, indent=2))
    else:
        table = Table("part", "name", "state", "why", box=None, pad_edge=False)
        for part in parts:
            table.add_row(*(Text(cell) for cell in (part.kind, part.name, part.state, part.why)))
        wide().print(table)
    return FAILED if any(part.state == "critical" for part in parts) else DONE
