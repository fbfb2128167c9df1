"""The options that `run` and `scan` have in common."""

from dataclasses import dataclass

import click

from elexirion_dagster.errors import InputError
from elexirion_dagster.operations.models import NO_MODEL

MODEL = click.option("--model", metavar="PROVIDER/MODEL", help="Use this model instead of the pipeline's.")
WITHOUT_MODEL = click.option("--no-model", is_flag=True, help="Ask no model; its steps are skipped.")
STREAM = click.option("--stream", is_flag=True, help="Show the models' answers while they come in.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON, and nothing else.")


@dataclass(frozen=True, slots=True)
class Options:
    """What was given; `model` None is the pipeline's own."""

    model: str | None
    stream: bool
    as_json: bool
    test_steps: bool


def options(*, model: str | None, no_model: bool, stream: bool, as_json: bool, test_steps: bool = False) -> Options:
    """What click read, checked. Raises InputError."""
    if model and no_model:
        raise InputError("--model and --no-model exclude each other", mend="Give one of them.")
    if stream and as_json:
        raise InputError("--stream and --json exclude each other", mend="Give one of them.")
    return Options(NO_MODEL if no_model else model, stream, as_json, test_steps)
