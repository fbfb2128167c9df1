"""What a finished run shows."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click
from rich.console import Console

from elexirion_dagster.records import Json
from elexirion_dagster.reports.terminal import findings_table, summary

if TYPE_CHECKING:
    from elexirion_dagster.operations.launch import Finished

_ROWS = 30
_SHOWN_CHARS = 4_000
_FILE_WIDTH = 180
STYLES = {
    "succeeded": "bold green",
    "failed": "bold red",
    "lost": "bold red",
    "cancelled": "bold yellow",
}
"""How the states of runs look."""


def as_record(finished: "Finished") -> dict[str, Json]:
    """The run as a JSON object: run, status, cause, message, outputs, reports, worktree, file, resume."""
    return {
        "run": finished.run,
        "status": finished.status,
        "cause": finished.cause,
        "message": finished.message,
        "outputs": finished.outputs,
        "reports": {kind: str(path) for kind, path in finished.reports.items()},
        "worktree": None if finished.worktree is None else str(finished.worktree),
        "file": None if finished.file is None else str(finished.file),
        "resume": None if finished.status == "succeeded" else resume_command(finished.run),
    }


def resume_command(run: str) -> str:
    """What goes on with a run that did not succeed."""
    return f"elexirion resume {run}"


def announce(run: str) -> None:
    """Print which run begins to standard error, so that a terminal shows its id after the run was killed."""
    click.echo(f"run {run}; if it is interrupted, resume it with: {resume_command(run)}", err=True)


def record_text(record: Mapping[str, object]) -> str:
    """The record as text; that of a cancelled run is one line, the last thing that its reader gets."""
    return json.dumps(record, ensure_ascii=False, indent=None if record["status"] == "cancelled" else 2)


def wide() -> Console:
    """Standard output; where it is no terminal, lines may be longer than rich's 80 characters."""
    console = Console()
    return console if console.is_terminal else Console(width=_FILE_WIDTH)


def _short(value: Json) -> str:
    """A value as text, cut where it is too long for a terminal."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    left = len(text) - _SHOWN_CHARS
    return text if left <= 0 else f"{text[:_SHOWN_CHARS]}… ({left} more characters, --json has them)"


def show_finished(finished: "Finished") -> None:
    """The report's table where there is one, else the outputs; then where everything lies."""
    console = wide()
    if finished.report is not None:
        console.print(findings_table(finished.report, _ROWS))
        console.print(summary(finished.report))
    else:
        for name, value in finished.outputs.items():
            click.echo(f"{click.style(name, bold=True)}: {_short(value)}")
    console.print(f"run {finished.run} [{STYLES[finished.status]}]{finished.status}[/]")
    if finished.message and finished.status != "succeeded":
        Console(stderr=True).print(finished.message, markup=False, highlight=False, soft_wrap=True)
    if finished.status != "succeeded":
        resume = f"resume it with: {resume_command(finished.run)}"
        Console(stderr=True).print(resume, markup=False, highlight=False, soft_wrap=True)
    for kind, path in finished.reports.items():
        console.print(f"  {kind:5} {path}", highlight=False, soft_wrap=True)
    if finished.worktree is not None:
        console.print(f"  work  {finished.worktree}", highlight=False, soft_wrap=True)
