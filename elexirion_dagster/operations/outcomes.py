"""What runs left behind: the tables, brought up to date before they are asked."""

from elexirion_dagster.settings import Settings
from elexirion_dagster.store.database import IngestReport, Rows, ingest, query
from elexirion_dagster.store.home import open_home
from elexirion_dagster.store.outcomes import recent


def ask(settings: Settings, sql: str | None, *, limit: int) -> tuple[IngestReport, Rows]:
    """Answer a query, or list the newest outcomes; the journal's news are loaded first."""
    home = open_home(settings.home)
    report = ingest(home)
    return report, query(home, sql) if sql else recent(home, limit=limit)
