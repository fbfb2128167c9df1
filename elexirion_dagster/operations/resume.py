"""Going on with a run that did not succeed, in this process: what it finished or paid for is not done again."""

import time
from collections.abc import Iterator, Sequence
from contextlib import chdir, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from filelock import FileLock, Timeout

from elexirion_dagster.codebase.selection import Batch
from elexirion_dagster.compiler.ends import record_end, root_of
from elexirion_dagster.configuration import check_calls
from elexirion_dagster.dialects.load import Loaded, load_any
from elexirion_dagster.dialects.lookup import find_all
from elexirion_dagster.errors import InputError, PipelineError
from elexirion_dagster.execution.launcher import folder_of
from elexirion_dagster.operations.launch import Finished, execute
from elexirion_dagster.operations.lineage import find, lineage, state_of
from elexirion_dagster.operations.opened import open_instance
from elexirion_dagster.operations.serve import is_served
from elexirion_dagster.records import Json
from elexirion_dagster.recovery.plan import RECOVER, Plan
from elexirion_dagster.recovery.recover import resume_lock
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.children import pipeline_hash
from elexirion_dagster.spec.partitioning import BATCH
from elexirion_dagster.store.failures.recoveries import past
from elexirion_dagster.store.home import Home
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.tags import (
    FILE_TAG,
    FOLDER_TAG,
    MODEL_TAG,
    OF_TERMINAL,
    PART_TAG,
    PIPELINE_TAG,
    REASON_TAG,
    RECOVERY_TAG,
    RESUMED,
    ROOT_RUN_TAG,
    TENANT_TAG,
    TEST_STEPS_TAG,
    TRIGGER_TAG,
)

_LOST = "its process ended unexpectedly"
_DECIDED_S = 60.0
"""Within so many seconds after a failure `elexirion up` has decided what is done about it."""


@dataclass(frozen=True, slots=True)
class Resumable:
    """A run that can be resumed: its pipeline as it stands, which is as it was when the run began."""

    run: dg.DagsterRun
    root: str
    file: Path
    loaded: Loaded
    settings: Settings

    @property
    def model(self) -> str | None:
        """The model that the run was given in place of the pipeline's."""
        return self.run.tags.get(MODEL_TAG)

    def go_on(self, run_id: str) -> Finished:
        """Run what is left, as the run of this id, to its end."""
        kept = {
            name: text
            for name, text in self.run.tags.items()
            if not name.startswith((".", "dagster/")) and name not in (RECOVERY_TAG, REASON_TAG)
        }
        inputs: dict[str, Json] = dict(self.run.run_config)
        batch = inputs.pop(BATCH, None) if self.loaded.pipeline.partitions is not None else None
        return execute(
            self.file,
            inputs,
            run_id=run_id,
            tags={**kept, ROOT_RUN_TAG: self.root, TRIGGER_TAG: RESUMED},
            settings=self.settings,
            test_steps=TEST_STEPS_TAG in self.run.tags,
            batch=None if batch is None else Batch.from_json(batch),
            parent=self.run,
        )


@contextmanager
def resumable(beginning: str, settings: Settings) -> Iterator[Resumable]:
    """The run whose id begins so, ready to be resumed; no other process can resume it meanwhile.

    Inside the block the current folder is the one that the run was started in. Raises InputError with the reason when
    the run cannot be resumed.
    """
    check_calls(settings)
    with open_instance(settings) as (home, instance):
        run = find(instance, beginning)
        root = root_of(run)
    with _alone(home, root), chdir(_folder(run)):
        with open_instance(settings) as (home, instance):
            run = find(instance, run.run_id)
            _check(home, instance, run, root)
            file = _file(run, settings)
            loaded = _as_it_was(home, run, root, file, settings)
            _take_over(home, instance, run, settings)
        yield Resumable(run, root, file, loaded, settings)


@contextmanager
def _alone(home: Home, root: str) -> Iterator[None]:
    """Be the one process that resumes a root run; raises InputError where another does."""
    (home.journal / root).mkdir(mode=0o700, exist_ok=True)
    try:
        with FileLock(resume_lock(home, root), mode=0o600, blocking=False):
            yield
    except Timeout as error:
        raise _under_way(root) from error


def _under_way(run: str) -> InputError:
    return InputError(f"run {run} is still under way", mend=f"Wait for it, or end it: elexirion stop {run}")


def _check(home: Home, instance: dg.DagsterInstance, run: dg.DagsterRun, root: str) -> None:
    """Raise InputError unless nothing works on the root run, or will by itself, and it has not succeeded."""
    family = lineage(instance, root)
    for other in (record.dagster_run for record in family):
        whose = f"run {run.run_id}" if other.run_id == run.run_id else f"run {other.run_id}, which goes on with it,"
        match state_of(home, instance, other):
            case "succeeded" if PART_TAG not in other.tags:
                mend = f"`elexirion show {other.run_id}` has its results. To do it again, start a new run."
                raise InputError(f"{whose} has succeeded", mend=mend)
            case "queued":
                mend = f"`elexirion up` starts it. To resume here instead, first end it: elexirion stop {other.run_id}"
                raise InputError(f"{whose} waits in the queue", mend=mend)
            case "running":
                raise _under_way(other.run_id)
    if PART_TAG in run.tags or run.job_name == RECOVER:
        first = run.tags.get(RECOVERY_TAG, root)
        raise InputError(
            f"run {run.run_id} is a recovery that cannot be resumed by itself",
            mend=f"Resume the run that it recovers: elexirion resume {first}",
        )
    if run.job_name != run.tags[PIPELINE_TAG]:
        mend = "Re-execute it in the UI: `elexirion up`."
        raise InputError(f"run {run.run_id} materializes an asset, and is not resumed in a terminal", mend=mend)
    _check_recovery(home, family, root)


def _check_recovery(home: Home, family: Sequence[dg.RunRecord], root: str) -> None:
    """Raise InputError where a running `elexirion up` is about to go on with one of the runs by itself."""
    if not is_served(home):
        return
    decided = past(home, root).decided
    for record in family:
        run = record.dagster_run
        if run.tags.get(TRIGGER_TAG) in OF_TERMINAL or not _is_recovered(run):
            continue
        followed = sum(one.dagster_run.tags.get(RECOVERY_TAG) == run.run_id for one in family)
        if run.run_id in decided:
            is_pending = followed < len(decided[run.run_id]["launches"])
        else:
            is_pending = record.end_time is None or time.time() - record.end_time < _DECIDED_S
        if is_pending:
            mend = "`elexirion recoveries list` shows how it stands. A run that is parked can be resumed."
            raise InputError(f"`elexirion up` recovers run {run.run_id} by itself", mend=mend)


def _is_recovered(run: dg.DagsterRun) -> bool:
    """Whether recovery looks at a run that ended so, or will once it is known to be lost; not at cancelled ones."""
    return run.status not in (dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.SUCCESS)


def _folder(run: dg.DagsterRun) -> Path:
    """The folder that the run was started in, where its pipelines are looked up."""
    origin = run.job_code_origin
    folder = Path(run.tags[FOLDER_TAG] if FOLDER_TAG in run.tags else folder_of(origin) if origin else Path.cwd())
    if not folder.is_dir():
        message = f"the folder {folder}, in which run {run.run_id} was started, does not exist any more"
        raise InputError(message, mend="Put it back, or start a new run.")
    return folder


def _file(run: dg.DagsterRun, settings: Settings) -> Path:
    """The file of the run's pipeline. Raises InputError when it is gone."""
    name = run.tags[PIPELINE_TAG]
    file = Path(run.tags[FILE_TAG]) if FILE_TAG in run.tags else find_all(settings).get(name)
    if file is None or not file.is_file():
        message = f"the file of the pipeline {name} does not exist any more: {file or name}"
        raise InputError(message, mend="Put it back as it was, or start a new run.")
    return file


def _as_it_was(home: Home, run: dg.DagsterRun, root: str, file: Path, settings: Settings) -> Loaded:
    """The pipeline, unless it is another one than the run began with: InputError."""
    began_with = past(home, root).hashes.get(run.run_id)
    mend = "Undo the change, for example with git, or start a new run."
    try:
        loaded = load_any(file, find_all(settings), test_steps=TEST_STEPS_TAG in run.tags)
    except PipelineError as error:
        raise InputError(f"{file} cannot be used any more: {error}", mend=mend) from error
    if began_with is not None and began_with != pipeline_hash(loaded.pipeline, loaded.pipelines):
        message = f"{file}, or a pipeline that it runs, was changed after run {run.run_id} began"
        raise InputError(message, mend=mend)
    return loaded


def _take_over(home: Home, instance: dg.DagsterInstance, run: dg.DagsterRun, settings: Settings) -> None:
    """End the run in Dagster's eyes where its process is gone, and note that a person goes on with it.

    A run of `elexirion up` would be recovered by the next `elexirion up` otherwise, and do the same at the same time.
    """
    if not run.is_finished:
        instance.report_run_failed(run, _LOST)
    ended = instance.get_run_by_id(run.run_id) or run
    _, cause, message = record_end(instance, ended, settings)
    if run.tags.get(TRIGGER_TAG) in OF_TERMINAL or not _is_recovered(ended):
        return
    before = past(home, root_of(run))
    decided = before.decided.get(run.run_id)
    with closing(
        JournalWriter(home, root_run=root_of(run), run=run.run_id, tenant=run.tags.get(TENANT_TAG))
    ) as journal:
        if decided is None:
            plan = Plan("park", "a person resumes it in a terminal").to_json()
            failure: dict[str, Json] = {
                "pipeline": run.tags[PIPELINE_TAG],
                "cause": cause,
                "message": message,
                "failed_at": time.time(),
            }
            journal.append("recovery", durable=True, **failure, **plan, max_recoveries=None)
        if run.run_id not in before.adopted and (decided is None or decided["action"] == "park"):
            journal.append("adoption", durable=True, what="park", file=None)
    _adopt_due(home, instance, root_of(run))


def _adopt_due(home: Home, instance: dg.DagsterInstance, root: str) -> None:
    """Take over the recoveries that were decided about and have not started: the next `elexirion up` would do so."""
    before = past(home, root)
    started = {record.dagster_run.tags.get(RECOVERY_TAG) for record in lineage(instance, root)}
    for failed, decided in before.decided.items():
        if decided["launches"] and failed not in started | before.adopted:
            with closing(JournalWriter(home, root_run=root, run=failed, tenant=decided.get("tenant"))) as journal:
                journal.append("adoption", durable=True, what=decided["action"], file=None)
