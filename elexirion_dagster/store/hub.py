"""Which machine serves a Dagster instance whose storage several machines can reach, such as one on Postgres.

Journal, ledger and tables are files of one machine's home. A run on another machine would write them into a home that
nobody reads, so it fails instead.
"""

import json
from typing import Any, Protocol

from elexirion_dagster.errors import StorageError
from elexirion_dagster.store.host import Host, this_host

_KEY = "elexirion/host"
_OF_ONE_MACHINE = "DagsterSqliteStorage"


class Instance(Protocol):
    """What is needed of a `DagsterInstance`."""

    @property
    def is_persistent(self) -> bool:
        """Whether the instance outlives its process."""

    @property
    def daemon_cursor_storage(self) -> Any:
        """Keys and values that everyone on the instance shares."""

    def get_ref(self) -> Any:
        """How the instance is configured."""


def claim_instance(instance: Instance) -> Host | None:
    """Make this machine the one that serves the instance; returns the one that did so before, if it is another."""
    if not _is_shared(instance):
        return None
    before, here = _served_by(instance), this_host()
    instance.daemon_cursor_storage.set_cursor_values({_KEY: json.dumps(here.to_json())})
    return None if before is None or before.is_same(here) else before


def check_instance(instance: Instance) -> None:
    """Raise StorageError when another machine serves the instance; where none does, this one does from now on."""
    if not _is_shared(instance):
        return
    known, here = _served_by(instance), this_host()
    if known is None:
        claim_instance(instance)
    elif not known.is_same(here):
        message = (
            f"the Dagster instance is served by the machine {known.name!r}, this is {here.name!r}: "
            "journal, ledger and tables are files of one machine"
        )
        mend = (
            f"Run everything on {known.name!r}. If this machine is to serve the instance instead, end "
            "`elexirion up` there and start it here."
        )
        raise StorageError(message, mend=mend)


def _is_shared(instance: Instance) -> bool:
    return instance.is_persistent and instance.get_ref().storage_data.class_name != _OF_ONE_MACHINE


def _served_by(instance: Instance) -> Host | None:
    text = instance.daemon_cursor_storage.get_cursor_values({_KEY}).get(_KEY)
    try:
        return None if text is None else Host.from_json(json.loads(text))
    except (ValueError, KeyError, TypeError):
        return None
