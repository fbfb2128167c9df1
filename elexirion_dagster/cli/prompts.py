"""`elexirion prompts`."""

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import click
from rich.table import Table
from rich.text import Text

from elexirion_dagster.cli.finished import wide
from elexirion_dagster.records import Json
from elexirion_dagster.reports.report import visible
from elexirion_dagster.settings import Settings

if TYPE_CHECKING:
    from elexirion_dagster.operations.prompts import Listed, Shown

_REASON = click.option("--reason", default="", help="Why; it stays in the history.")
_SLOT = click.argument("slot", metavar="PIPELINE/STEP")
_SCORES_CHARS = 80


@click.group()
def prompts() -> None:
    """Learned versions of prompts: which are in use, how they differ; promote, roll back, pin."""


@prompts.command("list")
@click.option("--json", "as_json", is_flag=True, help="As a JSON list.")
def list_prompts(*, as_json: bool) -> None:
    """Every prompt that has a version, and what is in use."""
    # Dagster and the providers behind `pins` take 0.3 s to import (measured); other commands need not wait for them.
    from elexirion_dagster.operations.prompts import listed  # noqa: PLC0415

    found = listed(_settings())
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], ensure_ascii=False, indent=2))
    elif not found:
        click.echo("no prompt has a version yet: every step uses the text of its YAML")
    else:
        table = Table("slot", "in use", "since", "canary", "versions", "state", box=None, pad_edge=False)
        for one in found:
            table.add_row(*map(_text, (one.slot, _in_use(one), one.since, _canary(one), one.versions, _state(one))))
        wide().print(table)


@prompts.command()
@_SLOT
@click.argument("version", required=False)
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
def show(*, slot: str, version: str | None, as_json: bool) -> None:
    """A prompt's versions and history; with VERSION (its beginning, or `yaml`) what that says."""
    from elexirion_dagster.operations.prompts import show as shown  # noqa: PLC0415  as in `list`: 0.3 s
    from elexirion_dagster.operations.prompts import text_of  # noqa: PLC0415  as above: 0.3 s

    if version is not None:
        text = text_of(slot, version, _settings())
        click.echo(json.dumps({"slot": slot, "version": version, "text": text}) if as_json else visible(text))
        return
    found = shown(slot, _settings())
    if as_json:
        click.echo(json.dumps(asdict(found), ensure_ascii=False, indent=2))
    else:
        _print(found)


@prompts.command()
@_SLOT
@click.argument("old", required=False)
@click.argument("new", required=False)
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
def diff(*, slot: str, old: str | None, new: str | None, as_json: bool) -> None:
    """How version NEW differs from OLD (`yaml` is the YAML's text); without them, what was put to use last."""
    from elexirion_dagster.operations.prompts import diff as differs  # noqa: PLC0415  as in `list`: 0.3 s

    lines = differs(slot, old, new, _settings())
    if as_json:
        click.echo(json.dumps({"slot": slot, "diff": lines}, ensure_ascii=False))
        return
    colours = {"+": "green", "-": "red", "@": "cyan"}
    for line in lines.splitlines() or ["they say the same"]:
        click.secho(visible(line), fg=colours.get(line[:1]))


@prompts.command()
@_SLOT
@click.argument("version")
@click.option("--canary", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Only for this share.")
@_REASON
def promote(*, slot: str, version: str, canary: float | None, reason: str) -> None:
    """Put VERSION (its beginning, or `yaml`) to use in runs that begin from now on."""
    from elexirion_dagster.operations.prompts import promote as put  # noqa: PLC0415  as in `list`: 0.3 s

    click.echo(put(slot, version, reason, _settings(), canary=canary))


@prompts.command()
@_SLOT
@_REASON
def rollback(*, slot: str, reason: str) -> None:
    """Take back what was put to use last: stop a canary, else go back to the version before."""
    from elexirion_dagster.operations.prompts import rollback as back  # noqa: PLC0415  as in `list`: 0.3 s

    click.echo(back(slot, reason, _settings()))


@prompts.command()
@_SLOT
@_REASON
def pin(*, slot: str, reason: str) -> None:
    """Keep a prompt as it is: optimisation and the sensor leave it alone."""
    _pin(slot, reason, pinned=True)


@prompts.command()
@_SLOT
@_REASON
def unpin(*, slot: str, reason: str) -> None:
    """Let optimisation and the sensor change a prompt again."""
    _pin(slot, reason, pinned=False)


def _pin(slot: str, reason: str, *, pinned: bool) -> None:
    from elexirion_dagster.operations.prompts import pin as keep  # noqa: PLC0415  as in `list`: 0.3 s

    click.echo(keep(slot, reason, _settings(), pinned=pinned))


def _settings() -> Settings:
    return Settings.from_env(os.environ)


def _print(found: "Shown") -> None:
    about, console = found.about, wide()
    console.print(_text(f"{about.slot}: {_in_use(about)} is in use; {_state(about)}"))
    if about.canary:
        console.print(_text(f"canary {_canary(about)}"))
    versions = Table("version", "from", "model", "examples", "scores", box=None, pad_edge=False)
    for one in found.versions:
        if "error" in one:
            versions.add_row(_text(one["hash"]), _text(one["error"]))
            continue
        scores = json.dumps(one["scores"], ensure_ascii=False)[:_SCORES_CHARS]
        cells = (one["hash"], one["parent"] or "yaml", one["model"], len(one["examples"]), scores)
        versions.add_row(*map(_text, cells))
    console.print(versions)
    history = Table("at", "what", "version", "by", "why", box=None, pad_edge=False)
    for change in found.history:
        cells = (change["at"][:19], change["what"], change["hash"] or "yaml", change["by"], change["why"])
        history.add_row(*map(_text, cells))
    if found.history:
        console.print(history)


def _in_use(one: "Listed") -> str:
    return one.in_use or "yaml"


def _canary(one: "Listed") -> str:
    return f"{one.canary} ({one.share:.0%})" if one.canary else ""


def _state(one: "Listed") -> str:
    return ", ".join(filter(None, ("pinned" if one.pinned else "", one.state, one.note)))


def _text(cell: Json) -> Text:
    return Text(visible("" if cell is None else str(cell)))
