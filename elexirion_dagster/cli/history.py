"""`elexirion runs` and `show`."""

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from elexirion_dagster.cli.finished import STYLES, wide
from elexirion_dagster.records import Json, counted
from elexirion_dagster.reports.report import in_line
from elexirion_dagster.settings import Settings

if TYPE_CHECKING:
    from elexirion_dagster.operations.run_details import Details

_STATES = ("queued", "running", "lost", "succeeded", "failed", "cancelled")
_VALUE_CHARS = 300


@click.command()
@click.option("--status", type=click.Choice(_STATES), help="Only runs in this state. lost: their process is gone.")
@click.option("--pipeline", metavar="NAME", help="Only runs of this pipeline.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="Rows.")
@click.option("--json", "as_json", is_flag=True, help="As a JSON list.")
def runs(*, status: Any, pipeline: str | None, limit: int, as_json: bool) -> None:
    """The newest runs: status, cause, duration, calls, cost."""
    # Dagster takes 1.5 s to import (measured); other commands need not wait for it.
    from elexirion_dagster.operations.runs import listed  # noqa: PLC0415

    rows = listed(Settings.from_env(os.environ), status=status, pipeline=pipeline, limit=limit)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], ensure_ascii=False, indent=2, default=str))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("run", "pipeline", "status", "cause", "started", "seconds", "calls", "cost", "by"):
        table.add_column(name, justify="right" if name in ("seconds", "calls", "cost") else "left")
    for row in rows:
        table.add_row(
            Text(row.run),
            Text(row.pipeline),
            Text(row.status, STYLES.get(row.status, "")),
            Text(row.cause or ""),
            Text(f"{row.started_at or row.created_at:%F %T}"),
            Text("" if row.seconds is None else f"{row.seconds:.1f}"),
            Text(str(row.calls)),
            Text(_cost(row.cost_usd, row.calls)),
            Text(row.trigger),
        )
    wide().print(table if rows else "there are no such runs")


def _cost(cost_usd: float | None, calls: int) -> str:
    if cost_usd is None:
        return "unknown" if calls else ""
    return f"${cost_usd:.4f}"


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
def show(run: str, *, as_json: bool) -> None:
    """Explain one run, given by its id or the beginning of one: what it did, why it ended, what to do next."""
    # Dagster takes 1.5 s to import (measured); other commands need not wait for it.
    from elexirion_dagster.operations.run_details import details  # noqa: PLC0415

    found = details(run, Settings.from_env(os.environ))
    if as_json:
        click.echo(json.dumps(asdict(found), ensure_ascii=False, indent=2, default=str))
    else:
        _show(found)


def _show(found: "Details") -> None:
    console, run = wide(), found.run
    head = Text.assemble(f"run {run.run} of {run.pipeline}: ", (run.status, STYLES.get(run.status, "")))
    console.print(head, soft_wrap=True)
    for name, value in _facts(found):
        if value:
            console.print(Text.assemble((f"  {name:10} ", "dim"), in_line(value)), soft_wrap=True)
    if found.steps:
        console.print(_steps(found.steps))
    if len(found.lineage) > 1:
        console.print("runs that go on with one another, oldest first:")
        for one in found.lineage:
            why = f" ({in_line(one.reason)})" if one.reason else ""
            mark = ">" if one.run == run.run else " "
            console.print(f" {mark} {one.run} {one.status}, {one.trigger}{why}", markup=False, highlight=False)
    for line in found.next:
        console.print(f"next: {line}", markup=False, highlight=False, soft_wrap=True)


def _facts(found: "Details") -> list[tuple[str, str]]:
    """What is told line by line; a value without text is left out."""
    run, calls = found.run, found.calls
    failed = f", {calls['failed']} failed" if calls["failed"] else ""
    unsure = f", {calls['possibly_paid']} possibly paid" if calls["possibly_paid"] else ""
    cost = f", {_cost(calls['cost_usd'], calls['calls'])}, {calls['tokens'] or 0} tokens" if calls["calls"] else ""
    why = run.message if run.cause is None else f"{run.cause}: {run.message or ''}"
    recovery = found.recovery
    return [
        ("pipeline", found.file or run.pipeline),
        ("what", found.description or ""),
        ("started", f"{run.started_at or run.created_at:%F %T} UTC by {run.trigger}" + _folder(found.folder)),
        ("took", "" if run.seconds is None else f"{run.seconds:.1f} s"),
        ("why", why or ""),
        *((f"in {name}", _short(value)) for name, value in found.inputs.items()),
        ("model", f"{found.model} (chosen for this run)" if found.model else ""),
        ("calls", f"{counted(calls['calls'], 'call')}{failed}{unsure}{cost}" if calls["calls"] else ""),
        ("models", ", ".join(calls["models"] or ())),
        ("recovery", f"{recovery['action']}: {recovery['reason']}" if recovery else ""),
        *((f"out {name}", _short(value)) for name, value in found.outputs.items()),
        *((kind, path) for kind, path in found.reports.items()),
        ("workspace", found.workspace or ""),
    ]


def _folder(folder: str | None) -> str:
    return f" in {folder}" if folder else ""


def _short(value: Json) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _VALUE_CHARS else f"{text[:_VALUE_CHARS]}… ({len(text) - _VALUE_CHARS} more characters)"


def _steps(steps: list[dict[str, Json]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("step", "type", "status", "seconds", "cost", "attempts", "cause", "message"):
        table.add_column(name, justify="right" if name in ("seconds", "cost", "attempts") else "left")
    for step in steps:
        cells = [
            step["step"],
            step["type"],
            step["status"],
            "" if step["duration_s"] is None else f"{step['duration_s']:.1f}",
            "" if not step["cost_usd"] else f"${step['cost_usd']:.4f}",
            str(step["attempts"] or ""),
            step["cause"] or "",
            _short(in_line(step["message"] or "")),
        ]
        table.add_row(*(Text(str(cell)) for cell in cells))
    return table
