"""The runtime's code location: every pipeline as a job, with our executor and sensors."""

import logging
import os
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from elexirion_dagster.compiler.compile import compile_files
from elexirion_dagster.compiler.derived_job import recover_job
from elexirion_dagster.compiler.health import HEALTH_ASSET, health_sensor
from elexirion_dagster.compiler.jobs import pipeline_job
from elexirion_dagster.compiler.prompts import prompts_sensor
from elexirion_dagster.compiler.recovery import recover_now, recovery_sensor
from elexirion_dagster.compiler.sensors import ingest_sensor, reap_sensor, record_runs_sensor
from elexirion_dagster.dialects.load import load_any
from elexirion_dagster.dialects.lookup import find_all
from elexirion_dagster.execution.executor import thread_executor
from elexirion_dagster.execution.workers import wanted_job
from elexirion_dagster.records import Json
from elexirion_dagster.reports.living import of_scan
from elexirion_dagster.reports.report import Report
from elexirion_dagster.reports.write import write
from elexirion_dagster.run import Run
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.home import open_home

_log = logging.getLogger(__name__)


@dg.definitions
def defs() -> dg.Definitions:
    """All pipelines found in ./pipelines_yaml, $ELEXIRION_PIPELINES and the package; in a worker the one it runs.

    A name that means none of them, as two files have it, is warned of at once.
    """
    settings = Settings.from_env(os.environ)
    sensors = [
        record_runs_sensor(settings),
        reap_sensor(),
        ingest_sensor(settings),
        health_sensor(settings),
        prompts_sensor(settings),
    ]
    known, wanted = find_all(settings), wanted_job.get()
    # The worker of a run need not compile the other pipelines: 9 ms each, measured.
    files = [known[wanted]] if wanted is not None and wanted in known else list(known.values())
    refused = {} if wanted else {name: one.error for name, one in known.refused.items()}
    for error in refused.values():
        _log.warning("%s", error)
    compiled = compile_files(
        files,
        settings,
        known=known,
        refused=refused,
        executor=thread_executor,
        finish=write_report,
        sensors=sensors,
    )
    return with_recovery(compiled, settings)


def with_recovery(compiled: dg.Definitions, settings: Settings) -> dg.Definitions:
    """The same, and what goes on with the runs that fail."""
    # Where a location has resources, Dagster copies sensors, `owners` that nobody set included, and warns of that word.
    warnings.filterwarnings("ignore", message="Parameter `owners` of initializer `SensorDefinition")
    generic = recover_job(settings, partial(find_all, settings), thread_executor, write_report)
    jobs = [generic, *(job for job in compiled.jobs or () if isinstance(job, dg.JobDefinition))]
    sensor = recovery_sensor(settings, partial(find_all, settings), jobs)
    return dg.Definitions.merge(compiled, dg.Definitions(assets=[HEALTH_ASSET], jobs=[generic], sensors=[sensor]))


def after_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """What a worker does once Dagster has ended its run: recover it if it failed, without waiting for a sensor."""
    settings = Settings.from_env(os.environ)
    recover_now(instance, run_id, settings, find_all(settings))


def job_of_file(file: Path, settings: Settings, *, test_steps: bool = False) -> dg.JobDefinition:
    """The job of one pipeline file, for a run outside the code location."""
    loaded = load_any(file, find_all(settings), test_steps=test_steps)
    given = (loaded.pipeline, settings, thread_executor, write_report, loaded.pipelines)
    return pipeline_job(*given, file=loaded.document.file)


def write_report(run: Run, outputs: Mapping[str, Json]) -> dict[str, Any]:
    """Write the report of a run whose outputs hold findings; returns where it lies, as metadata.

    That of a whole scan has everything that is known of the repository; one of several batches only its own part.
    """
    if not isinstance(outputs.get("findings"), list):
        return {}
    home = open_home(run.settings.home)
    report = Report.from_outputs(outputs, run.facts())
    if run.scan is not None and run.scan.alone:
        report = of_scan(report, home, run.pipeline.name, run.scan.target.repository.identity)
    written = write(report, home.report(run.info.run))
    return {name.replace(".", "_"): dg.MetadataValue.path(str(path)) for name, path in written.items()}
