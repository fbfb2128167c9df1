"""How the house is, measured now."""

from elexirion_dagster.compiler.health import measured
from elexirion_dagster.operations.opened import open_instance
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.database import ingest
from elexirion_dagster.store.failures.health import Health


def health(settings: Settings) -> list[Health]:
    """Every part of which there are figures, after the journal's news were loaded."""
    with open_instance(settings) as (home, instance):
        ingest(home)
        return measured(settings, instance)
