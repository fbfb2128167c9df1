"""`elexirion scan`."""

import json
import os
import uuid
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
from rich.table import Table
from rich.text import Text

from elexirion_dagster.cli.exits import REFUSED, run_exit_code
from elexirion_dagster.cli.finished import announce, as_record, show_finished, wide
from elexirion_dagster.cli.live import shown
from elexirion_dagster.cli.options import AS_JSON, MODEL, STREAM, WITHOUT_MODEL, Options, options
from elexirion_dagster.errors import InputError
from elexirion_dagster.operations import scans
from elexirion_dagster.operations.models import isolation_note, model_note
from elexirion_dagster.records import Json, counted, dollars
from elexirion_dagster.reports.report import in_line
from elexirion_dagster.reports.terminal import findings_table, summary
from elexirion_dagster.settings import Settings

if TYPE_CHECKING:
    from elexirion_dagster.operations.launch import Finished

_ROWS = 30
_LEFT_OUT = 10
_NOTHING: Mapping[str, Json] = {
    "run": None,
    "status": "succeeded",
    "cause": None,
    "message": None,
    "outputs": {},
    "reports": {},
    "worktree": None,
}
"""A scan that found nothing due, as a run that never was."""
_WORDS = {
    "new": "never scanned",
    "changed": "content changed",
    "rules": "the analyzers' rules changed",
    "failed": "the last scan failed",
    "stale": "model or prompt changed",
    "asked": "asked for with --all",
}


@click.command()
@click.argument("path", default=".", metavar="[PATH]")
@click.option("--plan", "only_plan", is_flag=True, help="Show what would be scanned, at which cost.")
@click.option("--all", "every", is_flag=True, help="Scan every file, also what has not changed.")
@click.option("--diff", metavar="REF", help="Only what differs from REF; `REF...`: since the two parted.")
@click.option(
    "--fail-on", type=click.Choice(get_args(scans.Bar)), metavar="[new-]SEVERITY", help="Exit 3 on such a finding."
)
@MODEL
@WITHOUT_MODEL
@STREAM
@AS_JSON
def scan(path: str, *, only_plan: bool, every: bool, diff: str | None, fail_on: scans.Bar | None, **given: Any) -> int:
    """Analyze what changed in a repository or folder since the last scan, and write a report."""
    if not Path(path).is_dir():
        mend = "Give the path of a folder." if not Path(path).exists() else "Give the folder it lies in."
        raise InputError(f"{path} is no folder", mend=mend)
    chosen = options(**given)
    settings = Settings.from_env(os.environ)
    # The packaged pipeline: a scanned repository's own pipelines_yaml/ must not get to say what a scan of it does.
    found = scans.prepare(path, settings, every=every, diff=diff, model=chosen.model)
    if only_plan:
        _show_plan(found, as_json=chosen.as_json)
        return 0
    for note in found.plan.notes[:1] if found.plan.tree.repository.git and not chosen.as_json else ():
        click.echo(note, err=True)
    finished = _scanned(found, chosen, settings) if found.plan or _is_empty(found) else None
    if finished is None and found.compared is None:
        scans.keep_unchanged(found, settings)
    now = scans.standing(found, settings)
    scanned = scans.files_scanned(finished, settings) if finished else 0
    return _told(found, finished, now, scanned=scanned, fail_on=fail_on, as_json=chosen.as_json)


def _scanned(found: scans.Scan, chosen: Options, settings: Settings) -> "Finished":
    run_id = str(uuid.uuid4())
    if not chosen.as_json:
        click.echo(model_note(found.pipeline, {}, chosen.model, settings), err=True)
        announce(run_id)
    if note := isolation_note(found.pipeline, {}, settings):
        click.secho(note, err=True, bold=True)
    journal = settings.home / "journal" / run_id
    with nullcontext() if chosen.as_json else shown(journal, steps=len(found.pipeline.steps)):
        return scans.run(found, run_id=run_id, model=chosen.model, stream=chosen.stream, settings=settings)


def _told(
    found: scans.Scan,
    finished: "Finished | None",
    now: scans.Standing,
    *,
    scanned: int,
    fail_on: scans.Bar | None,
    as_json: bool,
) -> int:
    """Show what came of it; returns the exit code."""
    over = now.over(fail_on) if fail_on else []
    if as_json:
        click.echo(
            json.dumps(
                {**_record(found, finished, now, over), "files_scanned": scanned},
                ensure_ascii=False,
                indent=2,
                default=str,
            )
        )
    else:
        _show(found, finished, now)
        if over:
            worst = "; ".join(in_line(f"{one['path']}:{one['line']} {one['rule']}") for one in over[:3])
            click.echo(f"--fail-on {fail_on}: {counted(len(over), 'finding')}: {worst}", err=True)
    code = run_exit_code(finished.status, finished.cause) if finished else 0
    return code or (REFUSED if over else 0)


def _record(found: scans.Scan, finished: "Finished | None", now: scans.Standing, over: list[Any]) -> dict[str, Json]:
    """The scan as a JSON object: that of its run (null where nothing was due), and where the repository stands."""
    nothing: dict[str, Json] = {
        "run": None,
        "status": "succeeded",
        "cause": None,
        "message": None,
        "outputs": {},
        "reports": {},
    }
    return {
        **(as_record(finished) if finished else nothing),
        "files": len(found.plan.tree.files),
        "notes": list(found.plan.notes),
        "waiting": found.plan.waiting,
        "findings": now.counts,
        "failing": [{name: one[name] for name in ("fingerprint", "path", "line", "rule", "severity")} for one in over],
    }


def _is_empty(found: scans.Scan) -> bool:
    """Whether there is no file at all, which the first scan of a folder reports like any other."""
    return found.plan.first and not found.plan.tree.files


def _show(found: scans.Scan, finished: "Finished | None", now: scans.Standing) -> None:
    if finished is not None and (found.plan.due or _is_empty(found) or finished.status != "succeeded"):
        show_finished(finished)
    else:
        report = scans.report_of(found, now)
        wide().print(findings_table(report, _ROWS))
        wide().print(summary(report))
        click.echo(f"nothing is due: {counted(len(found.plan.tree.files), 'file')} as at the last scan")
    counts = now.counts
    click.echo("in all " + ", ".join(f"{count} {state}" for state, count in counts.items()))
    if found.plan.waiting:
        click.echo(f"{counted(found.plan.waiting, 'file')} wait for a review with today's model and prompt")


def _show_plan(found: scans.Scan, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(scans.as_record(found), ensure_ascii=False, indent=2))
        return
    table = Table("file", "why", box=None, pad_edge=False, header_style="bold")
    for one in found.plan.due[:_ROWS]:
        table.add_row(Text(in_line(one.path)), _WORDS[one.reason])
    if found.plan.due:
        wide().print(table)
    if len(found.plan.due) > _ROWS:
        click.echo(f"… and {len(found.plan.due) - _ROWS} more")
    parts = [f"{count} {_WORDS[word]}" for word, count in scans.reasons(found)]
    of = f"of {counted(len(found.plan.tree.files), 'file')}"
    click.echo(f"{len(found.plan.due)} {of} due{': ' if parts else ''}{', '.join(parts)}")
    told = found.plan.news
    news = [(len(told.renamed), "renamed"), (len(told.deleted), "deleted"), (len(found.plan.tree.left_out), "left out")]
    left = list(found.plan.tree.left_out.items())
    named = [f"left out: {in_line(path)} ({reason})" for path, reason in left[:_LEFT_OUT]]
    more = [f"left out: … and {len(left) - _LEFT_OUT} more, see --json"] if len(left) > _LEFT_OUT else []
    for line in [", ".join(f"{count} {word}" for count, word in news if count), *named, *more, *found.plan.notes]:
        if line:
            click.echo(line)
    click.echo(_cost(found))


def _cost(found: scans.Scan) -> str:
    plan = found.plan
    if plan.standard.model is None:
        return "cost: none, no model is asked"
    ceiling = "no ceiling set" if plan.ceiling_usd is None else f"at most {dollars(plan.ceiling_usd)}"
    expected = "" if plan.expected_usd is None else f", {dollars(plan.expected_usd)} by what earlier scans cost"
    waiting = f"; {counted(plan.waiting, 'file')} wait for another night" if plan.waiting else ""
    return f"cost: {ceiling}{expected} ({plan.standard.model}){waiting}"
