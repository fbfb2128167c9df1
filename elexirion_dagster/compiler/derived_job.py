"""The job that runs documents derived from the pipelines of failed runs."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError

from elexirion_dagster.compiler.ends import root_of
from elexirion_dagster.compiler.failed_runs import DERIVED_OP
from elexirion_dagster.compiler.metadata import of_outputs, of_result
from elexirion_dagster.compiler.ops import Finish, step_failure
from elexirion_dagster.compiler.resources import RUN, Unopened, Wanted, failure, opened, opened_for
from elexirion_dagster.errors import Cancelled, ElexirionError
from elexirion_dagster.records import Json, StepResult
from elexirion_dagster.recovery.candidates import verified
from elexirion_dagster.recovery.plan import RECOVER
from elexirion_dagster.recovery.recover import finder
from elexirion_dagster.run import Run
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.failures.recoveries import past
from elexirion_dagster.store.home import open_home
from elexirion_dagster.tags import CHANGE_TAG, RECOVERY_TAG

Known = Callable[[], Mapping[str, Path]]
"""The pipeline files there are now, by name."""


def recover_job(settings: Settings, known: Known, executor: dg.ExecutorDefinition, finish: Finish) -> dg.JobDefinition:
    """The job that runs any document derived from the pipeline of a run that failed, and no other."""

    @dg.op(
        name=DERIVED_OP,
        config_schema={"of": str, "inputs": dict},
        required_resource_keys={RUN},
        description="All steps of the derived document, in program order.",
    )
    def steps(context: dg.OpExecutionContext) -> None:
        context.add_output_metadata(_whole(opened(getattr(context.resources, RUN)), context.log.info, finish))

    @dg.resource(description="The run of the derived document.")
    def resource(context: dg.InitResourceContext) -> Iterator[Run | Unopened]:
        yield from opened_for(context, settings, lambda: _derived(context, settings, known))

    @dg.job(
        name=RECOVER,
        description="Goes on with a failed run as a document that was derived from its pipeline.",
        resource_defs={RUN: resource},
        executor_def=executor,
    )
    def job() -> None:
        steps()

    return job


def _derived(context: dg.InitResourceContext, settings: Settings, known: Known) -> Wanted:
    """The document that the config names, which must be what was derived for that failed run."""
    if context.run is None:
        raise dg.DagsterInvariantViolationError("a document runs as a Dagster run")
    given: dict[str, Json] = dict(context.run.run_config)
    config = given["ops"][DERIVED_OP]["config"]
    home = open_home(settings.home)
    loaded, change = verified(home, config["of"], past(home, root_of(context.run)), finder(known()))
    tags = {RECOVERY_TAG: config["of"], CHANGE_TAG: change.model_dump_json(exclude_unset=True)}
    return Wanted(loaded.pipeline, loaded.pipelines, config["inputs"], tags=tags)


def _whole(run: Run, listen: Callable[[str], None], finish: Finish) -> dict[str, Any]:
    """Run every step in program order; returns metadata. Raises dg.Failure with the cause of the first that failed."""
    results: dict[str, StepResult] = {}
    try:
        for step in run.pipeline.steps:
            result = StepResult.from_json(run.step(step, results, listen=listen).to_json())
            results[step.name] = result
            if result.status == "failed" and not step.continue_on_error:
                raise step_failure(step.name, result, of_result(result))
        if run.is_part:
            return {}
        outputs = run.outputs(results) if run.pipeline.outputs else {}
        return {**of_outputs(outputs), **finish(run, outputs)}
    except Cancelled as error:
        raise DagsterExecutionInterruptedError from error
    except ElexirionError as error:
        raise failure(error, run.redactor) from None
