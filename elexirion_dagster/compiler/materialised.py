"""What came of each file as events of its own partition: materialised, or failed alone."""

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import dagster as dg
from dagster._core.events import (
    AssetMaterializationPlannedData,
    DagsterEvent,
    DagsterEventType,
    StepMaterializationData,
)
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from elexirion_dagster.compiler.metadata import clean
from elexirion_dagster.records import Json, counted
from elexirion_dagster.scan.target import Outcome
from elexirion_dagster.scan.under_way import ScanUnderWay

_TOGETHER = 200
"""Events per transaction: one at a time they take 10 to 18 ms each (measured), and a scan of 2,000 files 30 s more."""
_NAMED = 5


def asset_key(pipeline: str) -> dg.AssetKey:
    """The partitioned asset of a pipeline."""
    return dg.AssetKey([f"{pipeline}_files"])


def show_files(
    context: dg.OpExecutionContext, scan: ScanUnderWay, found: Sequence[Outcome], outputs: Mapping[str, Json]
) -> None:
    """Materialise the partition of each scanned or renamed file; plan those that failed, which the run's end fails."""
    key, commit = asset_key(scan.pipeline.name), scan.target.batch.commit
    findings = outputs.get("findings")
    counts = Counter(str(one["path"]) for one in findings) if isinstance(findings, list) else Counter[str]()
    about: dict[str, str | int] = {"commit": commit[:12]} if commit else {}
    done = [
        dg.AssetMaterialization(key, partition=scan.key(one.path), metadata={**about, **_of_file(one, counts)})
        for one in found
        if one.status == "scanned"
    ]
    seen = {one.path for one in found}
    done += [
        dg.AssetMaterialization(key, partition=scan.key(new), metadata={**about, "renamed_from": clean(old)})
        for old, new in sorted(scan.target.batch.renamed.items())
        if new not in seen
    ]
    events = [_event(context, DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(one)) for one in done]
    for one in found:
        if one.status == "failed":
            planned = AssetMaterializationPlannedData(key, partition=scan.key(one.path))
            events.append(_event(context, DagsterEventType.ASSET_MATERIALIZATION_PLANNED, planned))
    _store(context, events)


def failed_files(found: Sequence[Outcome]) -> dg.Failure:
    """The end of a run of whose files some failed."""
    failed = [one for one in found if one.status == "failed"]
    named = "; ".join(f"{clean(one.path)}: {clean(one.reason or 'unknown')}" for one in failed[:_NAMED])
    more = f"; and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    text = f"{len(failed)} of {counted(len(found), 'file')} failed, the others are done. {named}{more}"
    mend = "The next scan takes them up again."
    return dg.Failure(f"{text}\n{mend}", metadata={"cause": "check_failed", "how_to_mend": mend}, allow_retries=False)


def _of_file(one: Outcome, counts: Mapping[str, int]) -> dict[str, str | int]:
    return {"findings": counts[one.path], **({"review": clean(one.reason)} if one.reason else {})}


def _event(
    context: dg.OpExecutionContext,
    kind: DagsterEventType,
    data: StepMaterializationData | AssetMaterializationPlannedData,
) -> EventLogEntry:
    step = context.get_step_execution_context()
    event = DagsterEvent(
        event_type_value=kind.value,
        job_name=step.job_name,
        step_handle=step.step.handle,
        node_handle=step.step.node_handle,
        step_kind_value=step.step.kind.value,
        logging_tags=step.event_tags,
        event_specific_data=data,
    )
    return EventLogEntry(  # type: ignore[no-untyped-call]
        error_info=None,
        user_message="",
        level=logging.DEBUG,
        run_id=context.run_id,
        timestamp=time.time(),
        step_key=event.step_key,
        job_name=event.job_name,
        dagster_event=event,
    )


def _store(context: dg.OpExecutionContext, events: Sequence[EventLogEntry]) -> None:
    """Store the events, where the storage is Dagster's own SQLite many at a time (its `store_event`, in one go)."""
    storage = context.instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage):
        for event in events:
            context.instance.handle_new_event(event)
        return
    for start in range(0, len(events), _TOGETHER):
        some = events[start : start + _TOGETHER]
        with storage.run_connection(context.run_id) as connection:
            connection.execute(storage.prepare_insert_event_batch(some))
        with storage.index_transaction() as connection:
            if some[:-1]:
                connection.execute(storage.prepare_insert_event_batch(some[:-1]))
            key = connection.execute(storage.prepare_insert_event(some[-1])).inserted_primary_key
            storage._store_asset_event(connection, some[-1], key[0] if key else 0)  # noqa: SLF001 what store_event does for each
