"""One step as one op."""

import json
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError

from elexirion_dagster.compiler.checks import of_asset
from elexirion_dagster.compiler.materialised import failed_files, show_files
from elexirion_dagster.compiler.metadata import described, of_outputs, of_result
from elexirion_dagster.compiler.resources import RUN, failure, opened
from elexirion_dagster.errors import Cancelled, ElexirionError, InputError
from elexirion_dagster.records import Json, StepResult
from elexirion_dagster.redact import Redactor
from elexirion_dagster.run import Run
from elexirion_dagster.scan.target import tally
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.steps import Step

OUTPUTS = "outputs"
RESULT = "result"
FILES = "files"
"""The output that stands for the partitioned asset; nothing is ever yielded for it, files are told one by one."""
IO_MANAGER = "io_manager"

Finish = Callable[[Run, Mapping[str, Json]], Mapping[str, Any]]
"""Called with the run and its outputs after the last step; returns metadata to show."""


def definition_name(pipeline: Pipeline, step: str) -> str:
    """The name of an op's definition, which Dagster wants once per location; capitals keep it apart from all others."""
    return f"{step}_OF_{pipeline.name}"


def input_name(step: str) -> str:
    """The name of the input that takes a step's result; a step may have a name that Dagster keeps for itself."""
    return f"after_{step}"


def step_op(pipeline: Pipeline, step: Step, upstream: tuple[str, ...]) -> dg.OpDefinition:
    """The op of a top-level step. Its output is the StepResult as JSON, also when the step was skipped."""

    def compute(context: dg.OpExecutionContext, inputs: Mapping[str, Json]) -> Any:
        run = opened(getattr(context.resources, RUN))
        before = {name: StepResult.from_json(inputs[input_name(name)]) for name in upstream}
        result = _told(run, lambda: run.step(step, before, listen=context.log.info))
        shown = of_result(result)
        if result.status == "failed" and not step.continue_on_error:
            raise step_failure(step.name, result, shown)
        context.add_output_metadata(shown)
        yield dg.Output(result.to_json())

    return dg.OpDefinition(
        name=definition_name(pipeline, step.name),
        compute_fn=compute,
        ins={input_name(name): dg.In(dagster_type=dict) for name in upstream},
        outs={"result": dg.Out(dagster_type=dict, io_manager_key=IO_MANAGER)},
        description=_description(step),
        required_resource_keys={RUN},
        tags={f"dagster/kind/{step.type}": ""},
    )


def outputs_op(pipeline: Pipeline, upstream: tuple[str, ...], finish: Finish) -> dg.OpDefinition:
    """The last op of a pipeline with `outputs` or `partitions`: evaluates them and hands them to `finish`.

    With partitions it also says what came of each file, and fails where one failed.
    """

    def compute(context: dg.OpExecutionContext, inputs: Mapping[str, Json]) -> Any:
        run = opened(getattr(context.resources, RUN))
        if run.is_part:
            context.log.info("the outputs are left to the run that puts the parts together")
            yield dg.Output({}, RESULT)
            return
        before = {name: StepResult.from_json(inputs[input_name(name)]) for name in upstream}
        outputs = _told(run, lambda: run.outputs(before))
        found = _told(run, lambda: run.scanned(before))
        shown = {**of_outputs(outputs), **_told(run, lambda: finish(run, outputs))}
        if pipeline.partitions:
            shown |= tally(found)
        if run.scan is not None:
            show_files(context, run.scan, found, outputs)
            _suppress(context, run)
        for event in _told(run, lambda: of_asset(run, _numbers(shown))):
            context.log_event(event)
        if RESULT in context.selected_output_names:
            context.add_output_metadata(shown, output_name=RESULT)
            yield dg.Output(outputs, RESULT)
        if any(one.status == "failed" for one in found):
            raise failed_files(found)

    # a run of picked partitions asks for the files alone
    result = dg.Out(dagster_type=dict, io_manager_key=IO_MANAGER, is_required=not pipeline.partitions)
    files = {FILES: dg.Out(dg.Nothing, is_required=False)} if pipeline.partitions else {}
    return dg.OpDefinition(
        name=definition_name(pipeline, OUTPUTS),
        compute_fn=compute,
        ins={input_name(name): dg.In(dagster_type=dict) for name in upstream},
        outs={RESULT: result, **files},
        description="The pipeline's outputs, evaluated after every step.",
        required_resource_keys={RUN},
    )


def _suppress(context: dg.OpExecutionContext, run: Run) -> None:
    """Take up what the repository suppresses; a file that cannot be read is told, and what was known stays."""
    try:
        run.suppress()
    except InputError as error:
        context.log.warning("suppressions stay as they were: %s", error)


def _told(run: Run, work: Callable[[], Any]) -> Any:
    """Do the work; being told to stop becomes Dagster's own interruption, an error such as a full disk its failure.

    So does an error that nobody expected: Dagster keeps what is raised, and its text may hold a secret.
    """
    try:
        return work()
    except Cancelled as error:
        raise DagsterExecutionInterruptedError from error
    except ElexirionError as error:
        raise failure(error, run.redactor) from None
    except dg.DagsterError:
        raise
    except Exception:  # noqa: BLE001 - kept as its text, whatever it is
        raise dg.Failure(run.redactor.text(traceback.format_exc()), allow_retries=False) from None


def step_failure(name: str, result: StepResult, shown: Mapping[str, Any]) -> dg.Failure:
    """A failed step as Dagster's failure, with its cause among what is shown."""
    error = result.error
    message = f"{name} failed ({error.cause}): {error.message}" if error else f"{name} failed"
    mend = f"\n{error.mend}" if error and error.mend else ""
    return dg.Failure(f"{message}{mend}", metadata=dict(shown), allow_retries=False)


def _description(step: Step) -> str:
    """The step's own description, and its definition as it stands in the YAML but for secrets: Dagster stores it."""
    whole = step.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"name", "description"})
    definition = f"```json\n{json.dumps(Redactor().tree(whole), indent=2, ensure_ascii=False)}\n```"
    return f"{described(step.description)}\n\n{definition}" if step.description else definition


def _numbers(shown: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in shown.items() if isinstance(value, int | float | dg.MetadataValue)}
