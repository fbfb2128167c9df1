"""`elexirion optimize`."""

import json
from collections.abc import Mapping
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from elexirion_dagster.cli.finished import wide
from elexirion_dagster.operations.optimising import optimising
from elexirion_dagster.records import Json, counted, dollars
from elexirion_dagster.reports.report import visible

_HOWS = {
    "base": "what is in use",
    "instructions": "a given text",
    "gepa": "a written text",
    "bootstrap": "examples",
    "labelled": "examples",
    "combined": "text and examples",
}
_OUTCOMES = {
    "promote": "promoted: every run that begins now uses it",
    "canary": "on trial: a share of the items uses it",
    "keep": "the prompt in use stays",
}


@click.command()
@click.argument("address", metavar="PIPELINE/STEP")
@click.option("--json", "as_json", is_flag=True, help="Print every event as a JSON line, and nothing else.")
def optimize(address: str, *, as_json: bool) -> None:
    """Look for a better prompt, prove it on unseen rows, and put it to use if the gate lets it pass.

    Started again after it was ended, it goes on and pays nothing twice.
    """
    if as_json:
        for said in optimising(address):
            click.echo(json.dumps(said, ensure_ascii=False))
        return
    with _Shown() as shown:
        for said in optimising(address):
            shown.hear(said)


class _Shown:
    """An optimisation on the terminal: a line for each candidate, a bar for the rounds, the verdict."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._bar = self._progress.add_task("rounds", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def hear(self, said: Mapping[str, Json]) -> None:
        """Show one event."""
        match said.get("event"):
            case "began":
                self._progress.update(self._bar, total=said["iterations"])
                self._say(_began(said))
            case "iteration":
                self._progress.update(self._bar, completed=said["number"])
                self._say(_iteration(said))
            case "proving":
                self._say(f"proving it on {said['holdout']} rows that the search never saw")
            case "ended":
                self._progress.stop()
                _show_end(said)

    def _say(self, line: str) -> None:
        self._progress.console.print(visible(line), markup=False, highlight=False, soft_wrap=True)


def _began(said: Mapping[str, Json]) -> str:
    parts = said["parts"]
    dropped = ", ".join(f"{count} {reason}" for reason, count in said["dropped"].items())
    return (
        f"{said['address']}: {parts['train']} rows to learn from, {parts['validation']} to choose by, "
        f"{parts['holdout']} held out{f' ({dropped} left out)' if dropped else ''}\n"
        f"Model: {', then '.join(said['models'])}; at most {counted(said['calls'], 'call')}, {dollars(said['usd'])}"
    )


def _iteration(said: Mapping[str, Json]) -> str:
    figure = "dropped early" if said["validation"] is None else f"{said['validation']:.1%}"
    number = f"{said['number']}." if said["number"] else " ·"
    shown = f", {counted(said['examples'], 'example')}" if said["examples"] else ""
    mark = "  best so far" if said["accepted"] and said["how"] != "base" else ""
    spent = "" if not said["usd"] else f", {dollars(said['usd'])}"
    what = f"{_HOWS.get(said['how'], said['how'])}{shown}"
    return f"{number:>3} {figure:>13}  {what}  ({counted(said['calls'], 'call')}{spent}){mark}"


def _show_end(said: Mapping[str, Json]) -> None:
    if said["gate"]:
        wide().print(_checks(said["gate"]["checks"]))
    if said["base"]:
        click.echo(_figures(said))
    for note in said["notes"]:
        click.echo(visible(note))
    click.echo(f"{_OUTCOMES[said['outcome']]} ({visible(said['why'])})")
    spent = "cost unknown" if said["usd"] is None else dollars(said["usd"])
    replayed = f", {said['replayed']} of them replayed" if said["replayed"] else ""
    click.echo(f"{counted(said['calls'], 'call')}{replayed}, {spent}, {said['seconds']:.0f} s")
    if said["version"]:
        click.echo(f"version {said['version']}: elexirion prompts show {said['address']}")


def _figures(said: Mapping[str, Json]) -> str:
    gate, base, new = said["gate"], said["base"], said["new"]
    interval = gate["interval"]
    between = f", change between {interval[0]:+.1%} and {interval[1]:+.1%}" if interval else ""
    return f"on {gate['n']} unseen rows {base['quality']:.1%} before, {new['quality']:.1%} after{between}"


def _checks(checks: list[Mapping[str, Json]]) -> Table:
    table = Table("gate", "", "why", box=None, pad_edge=False, header_style="bold")
    for check in checks:
        table.add_row(check["name"], "passed" if check["passed"] else "FAILED", visible(check["why"]))
    return table
