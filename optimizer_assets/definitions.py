"""The optimizer's code location: what the runs of each pipeline left, as assets that prompts are learned from."""

import importlib.metadata
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import dagster as dg

from elexirion_dagster.dialects.load import load_any
from elexirion_dagster.dialects.lookup import find_all
from elexirion_dagster.errors import PipelineError
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.slots import slots
from elexirion_dagster.spec.steps import asks_model
from elexirion_dagster.store.home import open_home
from optimizer_assets.assets import slot_assets, slot_key
from optimizer_assets.sensors import learn_prompts, optimize_job, weekly

_BY_STEP = """
select coalesce(slot, path) as step, model, count(*) as outcomes,
       count(*) filter (where status = 'succeeded') as succeeded,
       sum(cost_usd) as cost_usd, median(latency_s) as latency_s
from outcomes where pipeline = ? and is_last group by all order by all
"""


@dg.definitions
def defs() -> dg.Definitions:
    """`outcomes/<pipeline>` for every pipeline that asks a model; for every slot with an `optimize:` its prompt."""
    note = optimizer_note()
    pipelines = list(_pipelines(find_all(Settings.from_env(os.environ))))
    learning = [slot for pipeline in pipelines for slot in slots(pipeline) if slot.optimize is not None]
    assets = [outcomes_asset(pipeline, note) for pipeline in pipelines]
    jobs = [(slot, optimize_job(slot, slot_key(slot))) for slot in learning]
    return dg.Definitions(
        assets=[*assets, *(asset for slot in learning for asset in slot_assets(slot))],
        jobs=[job for _, job in jobs],
        schedules=[weekly(job) for _, job in jobs],
        sensors=[learn_prompts(jobs)] if jobs else [],
        executor=dg.in_process_executor,  # the default takes four seconds per asset
    )


def optimizer_note() -> str:
    """Whether prompts can be optimised here."""
    try:
        return f"dspy {importlib.metadata.version('dspy')} is installed."
    except importlib.metadata.PackageNotFoundError:
        return "dspy is not installed, so no instructions are written here: pip install 'elexirion[optimizer]'."


def outcomes_asset(pipeline: Pipeline, note: str) -> dg.AssetsDefinition:
    """The asset that counts a pipeline's model outcomes, step by step."""

    @dg.asset(
        key=["outcomes", pipeline.name],
        deps=[pipeline.asset.split("/")] if pipeline.asset else [],
        kinds={"duckdb"},
        group_name="outcomes",
        description=f"What the model calls of {pipeline.name} came to, from the journal through DuckDB. {note}",
    )
    def outcomes() -> dg.MaterializeResult[None]:
        # DuckDB takes 100 ms to import (measured); loading the location need not wait for it.
        from elexirion_dagster.store.database import ingest, query  # noqa: PLC0415

        home = open_home(Settings.from_env(os.environ).home)
        ingest(home)
        rows = query(home, _BY_STEP, (pipeline.name,))
        records = [dict(zip(rows.columns, row, strict=True)) for row in rows.rows]
        shown = {
            "outcomes": sum(record["outcomes"] for record in records),
            "succeeded": sum(record["succeeded"] for record in records),
        }
        return dg.MaterializeResult(metadata={**shown, **_table(records)})

    return outcomes


def _table(records: list[dict[str, object]]) -> dict[str, dg.MetadataValue]:
    """The records as a table, or nothing where there are none."""
    if not records:
        return {}
    rows = [dg.TableRecord({name: _cell(value) for name, value in record.items()}) for record in records]
    return {"by_step": dg.MetadataValue.table(rows)}


def _cell(value: object) -> str | int | float | bool | None:
    return value if isinstance(value, str | int | float) or value is None else str(value)


def _pipelines(known: Mapping[str, Path]) -> Iterator[Pipeline]:
    """The pipelines that can be used and ask a model; the runtime location shows what is broken."""
    for file in known.values():
        try:
            pipeline = load_any(file, known).pipeline
        except PipelineError:
            continue
        if any(asks_model(step) for step in pipeline.steps):
            yield pipeline
