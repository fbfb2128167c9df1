"""The findings of a run."""

from typing import TYPE_CHECKING

from elexirion_dagster.store.home import Home

if TYPE_CHECKING:
    from elexirion_dagster.store.database import Rows

_OF_RUN = 'FROM findings WHERE run = ? ORDER BY path, line, "column", tool, rule, step_path'


def of_run(home: Home, run: str) -> "Rows":
    """Return a run's findings in the order of the code: the columns of `records.Finding`, and the step's path."""
    from elexirion_dagster.store import database  # noqa: PLC0415  brings in duckdb: over 100 ms measured

    return database.query(home, _OF_RUN, [run])
