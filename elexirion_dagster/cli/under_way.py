"""`elexirion ps` and `stop`."""

import json
import os
from dataclasses import asdict

import click
from rich.table import Table
from rich.text import Text

from elexirion_dagster.cli.finished import wide
from elexirion_dagster.settings import Settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As a JSON list.")
def ps(*, as_json: bool) -> None:
    """The runs under way: pipeline, step, seconds, calls, cost, memory of the process."""
    # Dagster takes 1.5 s to import (measured); other commands need not wait for it.
    from elexirion_dagster.operations.runs import under_way  # noqa: PLC0415

    rows = under_way(Settings.from_env(os.environ))
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("run", "pipeline", "status", "step", "seconds", "calls", "cost", "MB", "pid"):
        table.add_column(name, justify="right" if name in ("seconds", "calls", "cost", "MB", "pid") else "left")
    for row in rows:
        cost = "unknown" if row.cost_usd is None else f"${row.cost_usd:.4f}"
        seconds, memory = _whole(row.seconds), _whole(row.memory_mb)
        cells = (row.run, row.pipeline, row.status, row.step or "", seconds, str(row.calls), cost, memory)
        table.add_row(*(Text(cell) for cell in (*cells, str(row.pid or ""))))
    wide().print(table if rows else "nothing is under way")


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


@click.command()
@click.argument("run_id", metavar="RUN")
def stop(run_id: str) -> None:
    """Cancel a run, given by its id or the beginning of one; its child processes end with it."""
    # Dagster takes 1.5 s to import (measured); other commands need not wait for it.
    from elexirion_dagster.operations.runs import end  # noqa: PLC0415

    run, status = end(run_id, Settings.from_env(os.environ))
    click.echo(f"run {run} {status}")
