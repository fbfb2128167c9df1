"""`elexirion findings`."""

import json
import os
from datetime import date
from typing import TYPE_CHECKING, get_args

import click
from rich.table import Table
from rich.text import Text

from elexirion_dagster.cli.finished import wide
from elexirion_dagster.errors import InputError
from elexirion_dagster.records import FindingState, Json, counted
from elexirion_dagster.reports.report import in_line, visible
from elexirion_dagster.reports.terminal import STYLES
from elexirion_dagster.settings import Settings

if TYPE_CHECKING:
    from elexirion_dagster.operations.findings import Verdict

_path = click.option("--path", metavar="FILE", help="Which one, where several findings have the fingerprint.")


@click.group(invoke_without_command=True)
@click.pass_context
def findings(ctx: click.Context) -> None:
    """Findings as they live from scan to scan; without a verb, those that are open."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_findings)


@findings.command("list")
@click.option(
    "--state", "states", multiple=True, type=click.Choice(get_args(FindingState)), help="Only these; repeatable."
)
@click.option("--repo", metavar="REPO", help="Only of this repository.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="Rows of the table.")
@click.option("--json", "as_json", is_flag=True, help="All of them as a JSON list.")
def list_findings(
    *, states: tuple[FindingState, ...] = (), repo: str | None = None, limit: int = 50, as_json: bool
) -> None:
    """The findings, the worst first: new, reopened and open ones."""
    # DuckDB takes 150 ms to import (measured); other commands need not wait for it.
    from elexirion_dagster.operations.findings import listed  # noqa: PLC0415

    found = [one for one in listed(Settings.from_env(os.environ), states=states) if repo in (None, one["repo"])]
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2, default=str))
        return
    if found:
        wide().print(_table(found[:limit], several=len({one["repo"] for one in found}) > 1))
    left = len(found) - limit
    click.echo(f"… and {left} more" if left > 0 else counted(len(found), "finding"))


@findings.command()
@click.argument("fingerprint")
@click.option("--reason", required=True, help="Why it may stay.")
@click.option("--owner", help="Who answers for that.")
@click.option("--until", metavar="DATE", help="The last day, as YYYY-MM-DD; for good without it.")
@_path
def suppress(*, fingerprint: str, reason: str, owner: str | None, until: str | None, path: str | None) -> None:
    """Report this finding no more, for a reason."""
    _say("suppressed", fingerprint, path=path, reason=reason, owner=owner, until=_day(until))


@findings.command()
@click.argument("fingerprint")
@click.option("--comment", help="What there is to say.")
@_path
def accept(*, fingerprint: str, comment: str | None, path: str | None) -> None:
    """Say that this finding is right; it stays open until it is fixed, also if it was suppressed."""
    _say("accepted", fingerprint, path=path, comment=comment)


@findings.command()
@click.argument("fingerprint")
@click.option("--comment", help="Why it is wrong.")
@_path
def reject(*, fingerprint: str, comment: str | None, path: str | None) -> None:
    """Say that this finding is wrong; it is reported no more."""
    _say("rejected", fingerprint, path=path, comment=comment)


def _say(verdict: "Verdict", fingerprint: str, *, path: str | None, **said: Json) -> None:
    # DuckDB takes 150 ms to import (measured); other commands need not wait for it.
    from elexirion_dagster.operations.findings import Word, judge  # noqa: PLC0415

    for one in judge(Settings.from_env(os.environ), fingerprint, Word(verdict, **said), path=path):
        place = in_line(f"{one['path']}:{one['line']}")
        click.echo(f"{_one_line(one['fingerprint'])} {place} {_one_line(one['rule'])} {verdict}, now {one['state']}")


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text is not None else None
    except ValueError as error:
        raise InputError(f"--until: {text!r} is no day", mend="Write it as YYYY-MM-DD.") from error


def _table(found: list[dict[str, Json]], *, several: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    hidden = any(one["state"] == "suppressed" for one in found)
    columns = ["fingerprint", "state", "severity", *(["repository"] if several else []), "where", "rule", "message"]
    for name in [*columns, *(["why it is suppressed"] if hidden else [])]:
        table.add_column(name, overflow="fold")
    for one in found:
        severity = _one_line(one["severity"])
        where = (one["repo"], f"{one['path']}:{one['line']}") if several else (f"{one['path']}:{one['line']}",)
        said = [in_line(cell) for cell in where]
        said += [_one_line(f"{one['tool']} {one['rule']}"), _one_line(str(one["message"])[:200])]
        said += [_why(one)] if hidden else []
        state = one["state"] if one["verdict"] != "accepted" else f"{one['state']}, accepted"
        table.add_row(
            Text(_one_line(one["fingerprint"])), state, Text(severity, STYLES.get(severity, "")), *map(Text, said)
        )
    return table


def _why(one: dict[str, Json]) -> str:
    """The reason of a suppression, who answers for it, and its last day."""
    if one["state"] != "suppressed":
        return ""
    until = f"until {one['expires']}" if one["expires"] else ""
    who = ", ".join(filter(None, (_one_line(one["owner"] or ""), until)))
    return f"{_one_line(one['reason'] or '')}{f' ({who})' if who else ''}"


def _one_line(value: object) -> str:
    return " ".join(visible(value).split())
