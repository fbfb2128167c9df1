"""`elexirion outcomes`."""

import json
import math
import os
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

import click
from rich.table import Table
from rich.text import Text

from elexirion_dagster.cli.finished import wide
from elexirion_dagster.errors import InputError
from elexirion_dagster.settings import Settings

_CELL_CHARS = 120


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
        click.echo(json.dumps(_records(rows.columns, rows.rows), ensure_ascii=False, indent=2, default=str))
        return
    table = Table(*rows.columns, box=None, pad_edge=False, header_style="bold")
    for row in rows.rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    wide().print(table)
    click.echo(f"{len(rows.rows)} {'row' if len(rows.rows) == 1 else 'rows'}")


def _records(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[dict[str, object]]:
    """The rows by column name; what is no JSON number (NaN, infinity) becomes null."""
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise InputError(f"two columns are called {twice[0]!r}", mend="Name them apart with AS.")
    return [
        {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in zip(columns, row, strict=True)
        }
        for row in rows
    ]


def _cell(value: object) -> str:
    """A value as one line."""
    match value:
        case None:
            return ""
        case float():
            return f"{value:.4g}"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}"
    return " ".join(str(value).split())[:_CELL_CHARS]
