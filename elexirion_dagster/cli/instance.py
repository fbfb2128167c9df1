"""`elexirion init`, `up`, `doctor`, `prune`."""

import json
import os

import click
from rich.console import Console

from elexirion_dagster.operations.doctor import examine_environment
from elexirion_dagster.operations.instance import init as initialise
from elexirion_dagster.operations.instance import prune as prune_home
from elexirion_dagster.settings import Settings


@click.command()
def init() -> None:
    """Create the home and its Dagster instance, and print the DAGSTER_HOME to use."""
    done = initialise(Settings.from_env(os.environ))
    click.echo(f"{'wrote' if done.written else 'found'} {done.config}", err=True)
    for said in done.repaired:
        click.echo(f"repaired {said}", err=True)
    click.echo(f"export DAGSTER_HOME={done.home.dagster}")


@click.command()
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535), help="Port of the web server.")
def up(*, port: int) -> None:
    """Start the Dagster web server and daemon on 127.0.0.1 with this home's instance."""
    # Dagster takes 1.5 s to import (measured); commands that serve nothing need not wait for it.
    from elexirion_dagster.operations.serve import serve  # noqa: PLC0415 - shares the CLI's start with nothing else

    serve(Settings.from_env(os.environ), port=port, say=lambda line: click.echo(line, err=True))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As a JSON list.")
def doctor(*, as_json: bool) -> int:
    """What is configured, what is missing, how to mend it; exit code 1 when something needed is missing."""
    found = examine_environment(os.environ)
    if as_json:
        rows = [{"subject": row.subject, "ok": row.ok, "detail": row.detail, "mend": row.mend} for row in found]
        click.echo(json.dumps(rows, indent=2))
    else:
        console = Console()
        marks = {True: "[green]ok[/]", False: "[red]wrong[/]", None: "[yellow]optional[/]"}
        for row in found:
            console.print(f"{marks[row.ok]:20} [bold]{row.subject}[/]", end="  ")
            console.print(row.detail, markup=False, highlight=False, soft_wrap=True)
            if row.mend:
                console.print(f"         {row.mend}", markup=False, highlight=False, style="dim", soft_wrap=True)
    return 1 if any(row.ok is False for row in found) else 0


@click.command()
@click.option("--older-than", "days", default=30, show_default=True, type=click.IntRange(0), help="Age in days.")
def prune(*, days: int) -> None:
    """Remove workspaces and reports of old runs; the journal, the tables and the prompts stay."""
    report = prune_home(Settings.from_env(os.environ), days)
    click.echo(
        f"removed {report.workspaces} workspaces and {report.reports} reports, {report.freed_bytes / 1e6:.1f} MB"
    )
    for path in report.kept:
        click.echo(
            f"kept {path}: a run is at work in it, or it is locked or holds commits that are on no branch", err=True
        )
