"""Declared inputs as the job's whole config: the Launchpad shows them with types, defaults and descriptions."""

from typing import Any

import dagster as dg

from elexirion_dagster.compiler.metadata import described
from elexirion_dagster.compiler.resources import RUN
from elexirion_dagster.errors import InputError
from elexirion_dagster.inputs import complete_inputs, without_secrets
from elexirion_dagster.records import Json
from elexirion_dagster.redact import Redactor
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.inputs import Input, InputType
from elexirion_dagster.spec.partitioning import BATCH
from elexirion_dagster.spec.pipeline import Pipeline

_TYPES: dict[InputType, Any] = {
    "string": str,
    "path": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "list": list,
    "object": dict,
}
_TEXTS = {str: str}
_BATCH = {
    "commit": dg.Field(dg.Noneable(str), is_required=False, description="The commit to read; else the working tree."),
    "branch": dg.Field(dg.Noneable(str), is_required=False, description="The branch whose head the commit was."),
    "files": dg.Field([str], is_required=False, description="Paths below the repository."),
    "excluded": dg.Field(_TEXTS, is_required=False, description="Paths that are newly left out, with reasons."),
    "renamed": dg.Field(_TEXTS, is_required=False, description="Old paths to new ones."),
    "deleted": dg.Field([str], is_required=False, description="Paths that are gone."),
    "scan": dg.Field(dg.Noneable(str), is_required=False, description="The scan whose budget this batch shares."),
    "night": dg.Field(dg.Noneable(int), is_required=False, description="The number of that scan."),
    "before": dg.Field(_TEXTS, is_required=False, description="Paths that changed, with the blob seen last."),
}
"""What schedules and sensors hand to a run with partitions; see codebase/selection.py."""


def config_mapping(pipeline: Pipeline, settings: Settings) -> dg.ConfigMapping:
    """The mapping from inputs to run config; a wrong value is refused before the run starts.

    What looks like a secret is masked, for runs whose way in did not do so before the run was stored. The settings'
    log level is that of what a run prints; the event log has everything.
    """

    def to_run_config(inputs: dict[str, Json]) -> dict[str, Json]:
        given = {name: value for name, value in inputs.items() if value is not None}
        batch = given.pop(BATCH, {}) if pipeline.partitions else {}
        try:
            given = without_secrets(given, Redactor(secrets=settings.secrets(pipeline.env)))
            complete_inputs(pipeline, given)
        except InputError as error:
            raise dg.DagsterInvariantViolationError(str(error)) from error
        return {
            "resources": {RUN: {"config": {"inputs": given, **({BATCH: batch} if batch else {})}}},
            "loggers": {"console": {"config": {"log_level": settings.log_level}}},
        }

    fields = {name: _field(name, declared, pipeline) for name, declared in pipeline.inputs.items()}
    if pipeline.partitions:
        fields[BATCH] = dg.Field(_BATCH, is_required=False, description="The files of this run; all when empty.")
    return dg.ConfigMapping(config_fn=to_run_config, config_schema=fields, receive_processed_config_values=True)


def _field(name: str, declared: Input, pipeline: Pipeline) -> dg.Field:
    kind, told = _TYPES[declared.type], described(declared.description)
    if declared.enum:
        kind = dg.Enum(f"{pipeline.name}.{name}", [dg.EnumValue(value) for value in declared.enum])
    if declared.required:
        return dg.Field(kind, is_required=True, description=told)
    if declared.default is None:
        return dg.Field(dg.Noneable(kind), is_required=False, default_value=None, description=told)
    default = float(declared.default) if declared.type == "number" else declared.default
    default = without_secrets({name: default}, Redactor())[name]  # Dagster stores what a job is with its runs
    return dg.Field(kind, is_required=False, default_value=default, description=told)
