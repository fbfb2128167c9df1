"""The `elexirion` command: nouns and verbs, errors in words, exit codes."""

import sys

import click

from elexirion_dagster.cli import instance, outcomes, pipelines, runs
from elexirion_dagster.cli.exits import BAD_INPUT, CANCELLED, DONE, FAILED, exit_code
from elexirion_dagster.errors import ElexirionError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="elexirion", prog_name="elexirion")
def cli() -> None:
    """AI work on codebases as data pipelines: YAML in, Dagster jobs out.

    \b
    elexirion scan .        analyze a repository and write a report
    elexirion list          the pipelines there are
    elexirion up            the Dagster UI
    elexirion doctor        what is configured, what is missing
    """


for command in (
    runs.scan,
    runs.run,
    runs.tour,
    pipelines.list_pipelines,
    pipelines.check,
    pipelines.schema,
    outcomes.outcomes,
    instance.init,
    instance.up,
    instance.doctor,
    instance.prune,
):
    cli.add_command(command)


def main() -> None:
    """Run the command; every expected failure is one message on standard error and an exit code."""
    try:
        code = cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(BAD_INPUT)
    except (click.Abort, KeyboardInterrupt):
        click.echo("cancelled", err=True)
        sys.exit(CANCELLED)
    except ElexirionError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(exit_code(error.cause))
    except BrokenPipeError:
        sys.exit(FAILED)
    sys.exit(code if isinstance(code, int) else DONE)


if __name__ == "__main__":
    main()
