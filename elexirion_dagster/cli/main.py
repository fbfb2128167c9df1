"""The `elexirion` command: nouns and verbs, errors in words, exit codes."""

import importlib
import io
import json
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from types import TracebackType

import click

from elexirion_dagster.cli.exits import BAD_INPUT, CANCELLED, DONE, FAILED, exit_code
from elexirion_dagster.errors import ElexirionError

COMMANDS: Mapping[str, tuple[str, str]] = {
    "scan": ("scan.scan", "Analyze what changed in a repository or folder and write a report."),
    "run": ("runs.run", "Run a pipeline with its inputs as KEY=VALUE."),
    "resume": ("runs.resume", "Go on with a run that was killed, cancelled or failed."),
    "runs": ("history.runs", "The newest runs: status, cause, duration, cost."),
    "show": ("history.show", "Explain one run: what it did, why it ended, what to do next."),
    "tour": ("runs.tour", "See a retry, a typed answer and a failover; the model is a script."),
    "rehearse": ("rehearsals.rehearse", "Run a pipeline whose models are a script: no key, no cost."),
    "rehearsal-server": ("rehearsals.rehearsal_server", "Play a script to any client until Ctrl-C."),
    "list": ("pipelines.list_pipelines", "The pipelines there are, with their inputs."),
    "check": ("pipelines.check", "Check pipelines without running anything."),
    "import": ("imports.import_pipeline", "Turn a pipeline written for pipeline_ex into a native file."),
    "schema": ("pipelines.schema", "The JSON Schema of pipelines, for editors."),
    "models": ("models.models", "Models that run inside the process: list them, pull one."),
    "outcomes": ("outcomes.outcomes", "What runs left behind, from the DuckDB tables."),
    "feedback": ("feedback.feedback", "Say what an answer of a run was worth, and what would have been right."),
    "findings": ("findings.findings", "Findings from scan to scan: list, suppress, accept, reject."),
    "prompts": ("prompts.prompts", "Learned versions of prompts: list, diff, promote, roll back, pin."),
    "optimize": ("optimize.optimize", "Look for a better prompt, prove it, put it to use if it passes."),
    "recoveries": ("recoveries.recoveries", "What was done about failed runs; take over what was parked."),
    "health": ("health.health", "How providers, pipelines and the queue are."),
    "doctor": ("instance.doctor", "What is configured, what is missing, how to mend it."),
    "init": ("instance.init", "Create the home and its Dagster instance."),
    "up": ("instance.up", "Start the Dagster web server and daemon."),
    "ps": ("under_way.ps", "The runs under way: step, seconds, cost, memory."),
    "stop": ("under_way.stop", "Cancel a run."),
    "prune": ("instance.prune", "Remove workspaces and reports of old runs."),
}
"""Where each command lives below this folder, and what it does."""
_RUNNING = frozenset({"run", "rehearse", "scan"})
"""Commands whose JSON is the record of a run."""


class Commands(click.Group):
    """Loads a command when it is called: all of them together take 0.4 s to import (measured)."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order in which a newcomer meets them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, imported now."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(".")
        command: click.Command = getattr(importlib.import_module(f"elexirion_dagster.cli.{module}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help, without importing anything."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="elexirion", prog_name="elexirion")
def cli() -> None:
    """AI work on codebases as data pipelines: YAML in, Dagster jobs out."""


def _without_secrets(text: str) -> str:
    """What is said of an error; a message may quote what somebody gave."""
    # re2 and the settings take 110 ms to import (measured); commands that succeed need not wait for them.
    from elexirion_dagster.redact import Redactor  # noqa: PLC0415 110 ms, see above
    from elexirion_dagster.settings import Settings  # noqa: PLC0415 110 ms, see above

    try:
        secrets = Settings.from_env(os.environ).secrets()
    except ElexirionError:
        secrets = []  # the settings are what is wrong
    return Redactor(secrets=secrets).text(text)


def _show_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What Python prints of an error that nobody expected, without secrets."""
    sys.stderr.write(_without_secrets("".join(traceback.format_exception(kind, error, trace))))


def main() -> None:
    """Run the command; every expected failure is one message on standard error and an exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.excepthook = _show_crash
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be text
    os.umask(0o077)  # what Dagster and DuckDB write below the home is its owner's alone
    try:
        code = cli(standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        sys.exit(BAD_INPUT)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(_cancelled())
    except ElexirionError as error:
        click.echo(f"error: {_without_secrets(str(error))}", err=True)
        sys.exit(exit_code(error.cause))
    except RuntimeError as error:
        if not isinstance(error.__cause__, KeyboardInterrupt):  # Ctrl-C while a class was being made
            raise
        sys.exit(_cancelled())
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on; the exit flushes once more
        sys.exit(FAILED)
    except OSError as error:
        click.echo(f"error: {error.filename or 'the system'}: {error.strerror or error}", err=True)
        sys.exit(FAILED)
    sys.exit(code if isinstance(code, int) else DONE)


def _cancelled() -> int:
    """Say that the command was told to stop before its run began or after it had ended, as JSON where that is asked."""
    click.echo("cancelled", err=True)
    if "--json" in sys.argv and _RUNNING.intersection(sys.argv):
        nothing: dict[str, object] = {"outputs": {}, "reports": {}, "worktree": None, "file": None}
        record = {"run": None, "status": "cancelled", "cause": "cancelled", "message": "cancelled", **nothing}
        click.echo(json.dumps(record))
    return CANCELLED


if __name__ == "__main__":
    main()
