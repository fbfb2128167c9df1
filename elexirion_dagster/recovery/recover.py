"""One failure from its cause to a plan that is in the journal; asked again about the same run, it says the same."""

import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from elexirion_dagster.dialects.load import Loaded, load_any
from elexirion_dagster.errors import ElexirionError, InputError
from elexirion_dagster.records import Json
from elexirion_dagster.recovery.candidates import derive, keep
from elexirion_dagster.recovery.decide import Find, as_it_stood, decide, follow_up, most_recoveries
from elexirion_dagster.recovery.derive import document_hash
from elexirion_dagster.recovery.plan import Failed, Launch, Plan
from elexirion_dagster.recovery.report import write_report
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.changes import Change
from elexirion_dagster.store.failures.recoveries import Past, past
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.journal import JournalWriter
from elexirion_dagster.tags import TENANT_TAG


def finder(known: Mapping[str, Path], runnable: Collection[str] | None = None) -> Find:
    """Looks pipelines up by name among these files, reading each once; `runnable` are those that can be started."""

    @cache
    def find(name: str) -> Loaded:
        if name not in known:
            raise InputError(f"there is no pipeline {name!r} any more", mend="Put its file back.")
        if runnable is not None and name not in runnable:
            raise InputError(f"{name} is not loaded in Dagster", mend="Reload the code location; `elexirion check`.")
        return load_any(known[name], known)

    return find


def recover(failed: Failed, settings: Settings, known: Mapping[str, Path], find: Find | None = None) -> Plan:
    """Decide what is done about a failed run, and record it. Raises StorageError when that cannot be kept."""
    home, look = open_home(settings.home), find or finder(known)
    before = past(home, failed.root_run)
    if failed.run in before.decided:
        return Plan.from_json(before.decided[failed.run])
    plan = decide(failed, before, find=look, settings=settings, now=time.time())
    if plan.action == "derive":
        plan = _with_document(failed, plan, settings, known, look)
    bound = _bound(failed, before, look)
    if plan.action == "park":
        write_report(home, failed, before, plan)
    tenant = failed.tags.get(TENANT_TAG)
    with JournalWriter(home, root_run=failed.root_run, run=failed.run, tenant=tenant) as journal:
        journal.append("recovery", durable=True, **_line(failed), **plan.to_json(), max_recoveries=bound)
    return plan


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


def _bound(failed: Failed, before: Past, find: Find) -> int | None:
    try:
        return most_recoveries(before, find(failed.pipeline).pipeline)
    except ElexirionError:  # a pipeline that is gone bounds nothing more
        return None


def _line(failed: Failed) -> dict[str, Json]:
    """What the journal has of the failure besides the plan; inputs may hold secrets and stay out."""
    return {
        "pipeline": failed.pipeline,
        "cause": failed.cause,
        "message": failed.message,
        "failed_at": failed.at,
    }
