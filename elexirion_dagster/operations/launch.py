"""Run one pipeline in this process as a run of the home's Dagster instance."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.execution.api import execute_run
from dagster._utils.interrupts import capture_interrupts

from elexirion_dagster.codebase.selection import Batch
from elexirion_dagster.compiler.ends import record_end, root_of
from elexirion_dagster.compiler.ops import OUTPUTS
from elexirion_dagster.definitions import job_of_file
from elexirion_dagster.errors import Cause
from elexirion_dagster.execution.workers import WORKERS, working_on
from elexirion_dagster.inputs import without_secrets
from elexirion_dagster.operations.opened import open_instance
from elexirion_dagster.records import Json
from elexirion_dagster.redact import Redactor
from elexirion_dagster.reports.json_report import load
from elexirion_dagster.reports.report import Report
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.partitioning import BATCH
from elexirion_dagster.store.home import Home
from elexirion_dagster.tags import CLI, FILE_TAG, FOLDER_TAG, TEST_STEPS_TAG, TRIGGER_TAG

LOCATION = "elexirion_dagster"


@dataclass(frozen=True, slots=True)
class Finished:
    """How a run ended: status succeeded, failed or cancelled; `outputs` as the pipeline declares them."""

    run: str
    status: str
    cause: Cause | None
    message: str | None
    outputs: Mapping[str, Json]
    report: Report | None
    reports: Mapping[str, Path]
    """Report files by kind; empty where the pipeline reports no findings."""
    worktree: Path | None = None
    """Where the run's work was kept, for a pipeline that works in a git worktree."""
    file: Path | None = None
    """The file that the pipeline was read from."""


def execute(
    file: Path,
    inputs: Mapping[str, Json],
    *,
    run_id: str,
    tags: Mapping[str, str],
    settings: Settings,
    test_steps: bool = False,
    batch: Batch | None = None,
    parent: dg.DagsterRun | None = None,
    before: Callable[[dg.DagsterInstance], None] = lambda _instance: None,
) -> Finished:
    """Run the pipeline in `file` to its end. Being interrupted ends its children and marks the run cancelled.

    What looks like a secret in the inputs or tags is masked before anything is stored. `batch` is what a run with
    partitions is to scan. `parent` is the run that this one goes on with. `before` is called with the instance first.
    """
    with _interruptible(), open_instance(settings) as (home, instance):
        before(instance)
        job = job_of_file(file, settings, test_steps=test_steps)
        redactor = Redactor(secrets=settings.secrets())
        with working_on(home.dagster / WORKERS, run_id):  # first: a run without a worker counts as lost
            run = instance.create_run_for_job(
                job_def=job,
                run_id=run_id,
                run_config={**without_secrets(inputs, redactor), **({BATCH: batch.to_json()} if batch else {})},
                tags={**job.tags, **_origin(file, test_steps=test_steps), **redactor.tree(dict(tags))},
                parent_run_id=None if parent is None else parent.run_id,
                root_run_id=None if parent is None else root_of(parent),
            )
            _executed(job, run, instance)
        ended = instance.get_run_by_id(run_id)
        if ended is None:
            raise dg.DagsterInvariantViolationError(f"run {run_id} is gone from the instance")
        end = record_end(instance, ended, settings)
        outputs = _outputs(Path(instance.storage_directory()) / run_id)
    return _finished(home, ended, end, outputs)


def _finished(
    home: Home, run: dg.DagsterRun, end: tuple[str, Cause | None, str | None], outputs: Mapping[str, Json]
) -> Finished:
    """The ended run with what it left in the home."""
    status, cause, message = end
    files = _reports(home.report(run.run_id))
    report = load(files["json"].read_text(encoding="utf-8")) if "json" in files else None
    workspace = home.workspace(root_of(run))
    worktree = workspace if (workspace / ".git").is_file() else None
    return Finished(run.run_id, status, cause, message, outputs, report, files, worktree, _file_of(run))


def _file_of(run: dg.DagsterRun) -> Path | None:
    return Path(run.tags[FILE_TAG]) if FILE_TAG in run.tags else None


def _reports(folder: Path) -> dict[str, Path]:
    """The report files of a run by kind."""
    return {file.suffix[1:]: file for file in sorted(folder.iterdir())} if folder.is_dir() else {}


def _origin(file: Path, *, test_steps: bool) -> dict[str, str]:
    """The tags that say where a run of a terminal came from."""
    return {
        TRIGGER_TAG: CLI,
        FILE_TAG: str(file.absolute()),
        FOLDER_TAG: str(Path.cwd()),
        ".dagster/repository": f"__repository__@{LOCATION}",
        **({TEST_STEPS_TAG: "yes"} if test_steps else {}),
    }


@contextmanager
def _interruptible() -> Iterator[None]:
    """Leave interrupts to the run. Raises KeyboardInterrupt where one came before there was any."""
    try:
        with capture_interrupts():
            yield
    except DagsterExecutionInterruptedError as error:
        raise KeyboardInterrupt from error


def _executed(job: dg.JobDefinition, run: dg.DagsterRun, instance: dg.DagsterInstance) -> None:
    """Execute the run. Dagster raises where it is interrupted before the first op or after the last one."""
    try:
        execute_run(InMemoryJob(job), run, instance)
    except DagsterExecutionInterruptedError:
        now = instance.get_run_by_id(run.run_id)
        if now is not None and not now.is_finished:
            instance.report_run_canceled(now, "The run was interrupted.")


def _outputs(storage: Path) -> dict[str, Json]:
    """What the outputs op of a run left in the instance's storage."""
    path = storage / OUTPUTS / "result.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
