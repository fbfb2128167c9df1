"""The home's Dagster instance, opened; what cannot be used is said in words."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from dagster_shared.check import CheckError
from sqlalchemy.exc import SQLAlchemyError

from elexirion_dagster.errors import InputError, StorageError
from elexirion_dagster.operations.instance import init
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.home import Home
from elexirion_dagster.yamlio import load_file


@contextmanager
def open_instance(settings: Settings) -> Iterator[tuple[Home, dg.DagsterInstance]]:
    """The home and its instance for the block. Raises InputError or StorageError with what to mend."""
    home = init(settings).home
    load_file(home.dagster / "dagster.yaml")  # Dagster meets what is no YAML with a stack trace
    try:
        with dg.DagsterInstance.from_config(str(home.dagster)) as instance:
            yield home, instance
    except (dg.DagsterInvalidConfigError, CheckError) as error:
        message = f"{home.dagster / 'dagster.yaml'} cannot be used: {error}"
        raise InputError(message, mend="Mend that file, or remove it: `elexirion init` writes it anew.") from error
    except (OSError, SQLAlchemyError, sqlite3.Error) as error:
        message = f"the Dagster instance in {home.dagster} cannot be used: {error}"
        raise StorageError(message, mend="Look at free space and permissions there, then try again.") from error
