"""The home's Dagster instance, opened; what cannot be used is said in words."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from alembic.util.exc import CommandError
from dagster_shared.check import CheckError
from sqlalchemy.exc import SQLAlchemyError

from elexirion_dagster.errors import InputError, StorageError
from elexirion_dagster.operations.instance import init
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.first_use import first_use
from elexirion_dagster.store.home import Home


@contextmanager
def open_instance(settings: Settings) -> Iterator[tuple[Home, dg.DagsterInstance]]:
    """The home and its instance for the block. Raises InputError or StorageError with what to mend."""
    home = init(settings).home  # reads dagster.yaml first, as Dagster meets what is no YAML with a stack trace
    try:
        with first_use(home.path):  # a storage that `init` does not know is made here
            instance = dg.DagsterInstance.from_config(str(home.dagster))
        with instance:
            yield home, instance
    except (dg.DagsterInvalidConfigError, CheckError) as error:
        message = f"{home.dagster / 'dagster.yaml'} cannot be used: {error}"
        raise InputError(message, mend="Mend that file, or remove it: `elexirion init` writes it anew.") from error
    except (OSError, SQLAlchemyError, sqlite3.Error, CommandError) as error:
        message = f"the Dagster instance in {home.dagster} cannot be used: {error}"
        raise StorageError(message, mend="Look at free space and permissions there, then try again.") from error


def read_all(instance: dg.DagsterInstance) -> str:
    """Load all that `dagster.yaml` names and read from each database; says what is there. Call it inside the block."""
    loaded = (instance.run_coordinator, instance.run_launcher, instance.scheduler, instance.compute_log_manager)
    instance.get_concurrency_config()
    runs, schedules = instance.get_runs_count(), len(instance.all_instigator_state())
    newest = instance.get_runs(limit=1)
    events = len(instance.all_logs(newest[0].run_id)) if newest else 0
    assets = len(instance.all_asset_keys())
    said = f"{runs} runs (the newest with {events} events), {assets} assets, {schedules} schedules and sensors"
    return f"{said}; runs are started by {type(loaded[1]).__name__}"
