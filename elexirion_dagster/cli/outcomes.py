"""`elexirion outcomes`."""

import json
import os

import click
from rich.console import Console
from rich.table import Table

from elexirion_dagster.settings import Settings


@click.command()
@click.option(
    "--sql", metavar="QUERY", help="A DuckDB query over runs, steps, calls, findings, outcomes and the other views."
)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="Rows, without --sql.")
@click.option("--json", "as_json", is_flag=True, help="As a JSON list.")
def outcomes(*, sql: str | None, limit: int, as_json: bool) -> None:
    """What runs left behind, from the DuckDB tables."""
    # DuckDB takes 150 ms to import (measured); other commands need not wait for it.
    from elexirion_dagster.operations.outcomes import ask  # noqa: PLC0415

    report, rows = ask(Settings.from_env(os.environ), sql, limit=limit)
    if report.rebuilt:
        click.echo("note: the table file was damaged; it was set aside and built anew from the journal", err=True)
    if as_json:
        records = [dict(zip(rows.columns, row, strict=True)) for row in rows.rows]
        click.echo(json.dumps(records, ensure_ascii=False, indent=2, default=str))
        return
    table = Table(*rows.columns)
    for row in rows.rows:
        table.add_row(*("" if value is None else str(value)[:200] for value in row))
    Console().print(table)
    click.echo(f"{len(rows.rows)} rows")
