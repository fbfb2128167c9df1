"""`elexirion recoveries`."""

import json
import os

import click
from rich.table import Table
from rich.text import Text

from elexirion_dagster.cli.finished import wide
from elexirion_dagster.settings import Settings


@click.group()
def recoveries() -> None:
    """What was done about failed runs."""


@recoveries.command("list")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="Rows.")
@click.option("--json", "as_json", is_flag=True, help="As a JSON list.")
def list_recoveries(*, limit: int, as_json: bool) -> None:
    """The newest failed runs: cause, what was done, how long it took, how it stands."""
    # DuckDB takes 150 ms to import (measured); other commands need not wait for it.
    from elexirion_dagster.operations.recoveries import listed  # noqa: PLC0415

    rows = listed(Settings.from_env(os.environ), limit=limit)
    if as_json:
        records = [dict(zip(rows.columns, row, strict=True)) for row in rows.rows]
        click.echo(json.dumps(records, indent=2, default=str))
        return
    table = Table("run", "pipeline", "cause", "action", "decided", "after s", "state", box=None, pad_edge=False)
    for run, pipeline, cause, action, at, seconds, state in rows.rows:
        after = "" if seconds is None else f"{seconds:.1f}"
        table.add_row(*(Text(str(cell)) for cell in (run, pipeline, cause, action, f"{at:%F %T}", after, state)))
    wide().print(table if rows.rows else "no run has failed since recoveries are recorded")


@recoveries.command()
@click.argument("run", metavar="RUN")
def show(run: str) -> None:
    """What failed and what was done, with the report of a parked run and a derived document."""
    # DuckDB takes 150 ms to import (measured); other commands need not wait for it.
    from elexirion_dagster.operations.recoveries import show as shown  # noqa: PLC0415

    found = shown(run, Settings.from_env(os.environ))
    click.echo(json.dumps(found.fields, ensure_ascii=False, indent=2))
    for title, text in (("report", found.report), ("derived document", found.document)):
        if text is not None:
            click.echo(f"\n--- {title} ---\n{text}")


@recoveries.command()
@click.argument("run", metavar="RUN")
def adopt(run: str) -> None:
    """Mark a parked run as yours, or keep a derived document as a pipeline of your own; nothing is started."""
    # DuckDB takes 150 ms to import (measured); other commands need not wait for it.
    from elexirion_dagster.operations.recoveries import adopt as taken  # noqa: PLC0415

    adopted = taken(run, Settings.from_env(os.environ))
    if adopted.file is None:
        click.echo(
            f"the parked run {adopted.run} is marked as yours; nothing was started, and nothing will be by itself\n"
            f"What failed and what was tried: {adopted.report}\n"
            f"When the cause ({adopted.cause}) is mended, either\n"
            f"  go on where it stopped, without doing again what is finished or paid: elexirion resume {adopted.run}\n"
            f"    (in the UI: open the run and re-execute it from failure), or\n"
            f"  begin anew: elexirion run {adopted.pipeline}"
        )
    else:
        click.echo(f"wrote {adopted.file}")
        click.echo(f"To use it, put this under `fallback:` of the pipeline it came from:\n  {adopted.rule}")
