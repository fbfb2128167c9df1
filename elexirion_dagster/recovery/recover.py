"""One failure from its cause to a plan that is in the journal; asked again about the same run, it says the same."""

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

from elexirion_dagster.dialects.library import refusal
from elexirion_dagster.dialects.load import Loaded, load_any
from elexirion_dagster.errors import ElexirionError, InputError, StorageError
from elexirion_dagster.records import Json
from elexirion_dagster.recovery.bounds import most_recoveries
from elexirion_dagster.recovery.candidates import derive, keep
from elexirion_dagster.recovery.decide import Find, as_it_stood, decide, follow_up
from elexirion_dagster.recovery.derive import document_hash
from elexirion_dagster.recovery.outage import most_wait_s
from elexirion_dagster.recovery.plan import KEY_TAG, Failed, Launch, Plan
from elexirion_dagster.recovery.report import write_report
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.changes import Change
from elexirion_dagster.store.accounts.gates import Gates
from elexirion_dagster.store.accounts.ledger_file import LedgerFile
from elexirion_dagster.store.failures.recoveries import Past, past
from elexirion_dagster.store.home import Home, check_name, open_home, storage_error
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.tags import RECOVERY_TAG, TENANT_TAG

_LOCK_S = 60.0


def finder(known: Mapping[str, Path], runnable: Collection[str] | None = None) -> Find:
    """Looks pipelines up by name among these files, reading each once; `runnable` are those that can be started."""

    @cache
    def find(name: str) -> Loaded:
        if error := refusal(known, name):
            raise error
        if name not in known:
            raise InputError(f"there is no pipeline {name!r} any more", mend="Put its file back.")
        if runnable is not None and name not in runnable:
            raise InputError(f"{name} is not loaded in Dagster", mend="Reload the code location; `elexirion check`.")
        return load_any(known[name], known)

    return find


def recover(failed: Failed, settings: Settings, known: Mapping[str, Path], find: Find | None = None) -> Plan:
    """Decide what is done about a failed run, and record it. Raises StorageError when that cannot be kept.

    Of several processes that ask about one root run, one decides; the others get what it decided.
    """
    home, find = open_home(settings.home), find or finder(known)
    with alone(home, failed.root_run), closing(LedgerFile(home)) as ledger:
        before = past(home, failed.root_run)
        if failed.run in before.decided:
            return Plan.from_json(before.decided[failed.run])
        look = Gates(ledger).look
        plan = decide(failed, before, find=find, settings=settings, now=time.time(), look=look)
        if plan.action == "derive":
            plan = _with_document(failed, plan, settings, known, find)
        if plan.action == "park":
            write_report(home, failed, before, plan)
        tenant = failed.tags.get(TENANT_TAG)
        with JournalWriter(home, root_run=failed.root_run, run=failed.run, tenant=tenant) as journal:
            bounds = _bounds(failed, before, find)
            journal.append("recovery", durable=True, **_line(failed), **plan.to_json(), **bounds)
    return plan


@contextmanager
def alone(home: Home, root_run: str) -> Iterator[None]:
    """Be the only one who decides about this root run."""
    folder = home.journal / check_name(root_run)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        with FileLock(folder / "recovery.lock", timeout=_LOCK_S, mode=0o600):
            yield
    except (OSError, Timeout) as error:
        if isinstance(error, Timeout):
            raise StorageError(f"another process has been deciding about {root_run} for {_LOCK_S:g} s") from error
        raise storage_error(error, folder) from error


def resume_lock(home: Home, root_run: str) -> Path:
    """The file that is locked while a person resumes a root run in a terminal."""
    return home.journal / check_name(root_run) / "resume.lock"


def is_taken_over(home: Home, root_run: str, failed: str) -> bool:
    """Whether a person goes on with the root run now, or took over what was to be done about this failed run."""
    if failed in past(home, root_run).adopted:
        return True
    file = resume_lock(home, root_run)
    try:
        with FileLock(file, mode=0o600, blocking=False) if file.exists() else nullcontext():
            return False
    except Timeout:
        return True


def put_together(split: Failed, settings: Settings, find: Find) -> Launch:
    """The run after those that worked on the parts of a split run's items: what follows the items, done once.

    Raises ParkedError where the pipeline is another by now; its report says so.
    """
    home = open_home(settings.home)
    before = past(home, split.root_run)
    try:
        as_it_stood(split, before, find)
    except ElexirionError as error:
        write_report(home, split, before, Plan("park", f"all items are done; what follows them is not: {error}"))
        raise
    return follow_up(split, "whole", split.pipeline, "all items are done; go on with what follows them", {})


def _with_document(failed: Failed, plan: Plan, settings: Settings, known: Mapping[str, Path], find: Find) -> Plan:
    """The plan with its document checked and kept; one that the loader refuses is left to a person."""
    try:
        text = derive(find(failed.pipeline), Change.model_validate(plan.change), failed.run, known)
    except ElexirionError as error:
        return Plan("park", f"{plan.reason}; the document that this makes cannot be used: {error}")
    keep(open_home(settings.home), failed.run, text)
    return replace(plan, document=document_hash(text))


def _bounds(failed: Failed, before: Past, find: Find) -> dict[str, Json]:
    try:
        pipeline = find(failed.pipeline).pipeline
    except ElexirionError:  # a pipeline that is gone bounds nothing more
        return {"max_recoveries": None, "max_wait_s": None}
    return {"max_recoveries": most_recoveries(before, pipeline), "max_wait_s": most_wait_s(before, pipeline)}


def _line(failed: Failed) -> dict[str, Json]:
    """What the journal has of the failure besides the plan; inputs may hold secrets and stay out."""
    return {
        "pipeline": failed.pipeline,
        "cause": failed.cause,
        "message": failed.message,
        "failed_at": failed.at,
        "launch": failed.tags.get(KEY_TAG),
        "recovery_of": failed.tags.get(RECOVERY_TAG),
    }
