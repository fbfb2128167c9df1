"""The optimizer's code location: what the runs of each pipeline left, as assets that prompts are learned from."""

import importlib.metadata
import os

import dagster as dg

from elexirion_dagster.settings import Settings
from elexirion_dagster.store.home import open_home

_OUTCOMES_BY_PIPELINE = """
select pipeline, count(*) as outcomes, avg(case when status = 'succeeded' then 1.0 else 0.0 end) as success_rate,
       sum(cost_usd) as cost_usd, count(distinct model) as models
from outcomes group by pipeline order by pipeline
"""


@dg.definitions
def defs() -> dg.Definitions:
    """The asset `outcomes/summary`; says whether dspy is there."""
    return dg.Definitions(assets=[_outcomes_asset(optimizer_note())])


def optimizer_note() -> str:
    """Whether prompts can be optimised here."""
    try:
        return f"dspy {importlib.metadata.version('dspy')} is installed."
    except importlib.metadata.PackageNotFoundError:
        return "dspy is not installed, so prompts cannot be optimised here: pip install 'elexirion[optimizer]'."


def _outcomes_asset(note: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=["outcomes", "summary"],
        kinds={"duckdb"},
        group_name="outcomes",
        description=f"Model outcomes of every pipeline, counted from the journal through DuckDB. {note}",
    )
    def outcomes_summary() -> dg.MaterializeResult[None]:
        # DuckDB takes 150 ms to import (measured); loading the location need not wait for it.
        from elexirion_dagster.store.database import ingest, query  # noqa: PLC0415

        home = open_home(Settings.from_env(os.environ).home)
        ingest(home)
        rows = query(home, _OUTCOMES_BY_PIPELINE)
        records = [
            dg.TableRecord({name: _cell(value) for name, value in zip(rows.columns, row, strict=True)})
            for row in rows.rows
        ]
        total = sum(int(row[1]) for row in rows.rows)
        shown = {"outcomes": total, "pipelines": len(records)}
        return dg.MaterializeResult(
            metadata={**shown, "by_pipeline": dg.MetadataValue.table(records)} if records else shown
        )

    return outcomes_summary


def _cell(value: object) -> str | int | float | None:
    return value if isinstance(value, str | int | float) or value is None else str(value)
