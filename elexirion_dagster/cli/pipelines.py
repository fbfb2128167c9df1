"""`elexirion list`, `check`, `schema`."""

import json
import os

import click

from elexirion_dagster.cli.imports import allow_test_steps
from elexirion_dagster.errors import PipelineError
from elexirion_dagster.operations.pipelines import check as check_files
from elexirion_dagster.operations.pipelines import listing
from elexirion_dagster.operations.pipelines import schema as editor_schema
from elexirion_dagster.settings import Settings


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="As a JSON list.")
def list_pipelines(*, as_json: bool) -> None:
    """The pipelines there are, with their inputs."""
    rows = listing(Settings.from_env(os.environ))
    if as_json:
        click.echo(json.dumps([_as_json(row.name, str(row.file), row.pipeline, row.error) for row in rows], indent=2))
        return
    for row in rows:
        if row.pipeline is None:
            click.echo(f"{row.name}  cannot be used:\n{row.error}\n")
            continue
        click.echo(click.style(row.name, bold=True) + f"  {row.file}")
        click.echo(f"  {(row.pipeline.description or 'no description').strip()}")
        for name, declared in row.pipeline.inputs.items():
            default = "required" if declared.required else f"default {declared.default!r}"
            click.echo(f"  {name}: {declared.type}, {default}  {declared.description or ''}".rstrip())
        click.echo()


def _as_json(name: str, file: str, pipeline: object, error: str | None) -> dict[str, object]:
    inputs = {} if pipeline is None else pipeline.model_dump(mode="json", by_alias=True)["inputs"]  # type: ignore[attr-defined]
    description = getattr(pipeline, "description", None)
    return {"name": name, "file": file, "description": description, "inputs": inputs, "error": error}


@click.command()
@click.argument("targets", nargs=-1, metavar="[FILE|NAME]...")
@click.option("--json", "as_json", is_flag=True, help="Problems as a JSON list.")
@allow_test_steps
def check(targets: tuple[str, ...], *, as_json: bool, test_steps: bool) -> int:
    """Check pipelines and settings without running anything; exit code 2 when one is wrong."""
    problems: list[dict[str, object]] = []
    settings = Settings.from_env(os.environ)
    broken = 0
    for file, outcome in check_files(list(targets), settings, test_steps=test_steps):
        faulty = isinstance(outcome, PipelineError)
        found = outcome.problems if isinstance(outcome, PipelineError) else outcome.warnings
        broken += faulty
        level = "error" if faulty else "warning"
        for problem in found:
            problems.append(
                {
                    "level": level,
                    "file": problem.file,
                    "line": problem.line,
                    "column": problem.column,
                    "message": problem.message,
                    "mend": problem.mend,
                }
            )
            if not as_json:
                click.echo(f"{level}: {problem}")
        if not as_json and not faulty:
            click.echo(f"ok: {file}")
    if as_json:
        click.echo(json.dumps(problems, indent=2))
    return 2 if broken else 0


@click.command()
def schema() -> None:
    """The JSON Schema of pipelines, for editors (`# yaml-language-server: $schema=...`)."""
    click.echo(json.dumps(editor_schema(), indent=2))
