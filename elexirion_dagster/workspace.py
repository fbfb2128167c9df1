"""Where a run writes."""

from pathlib import Path

from elexirion_dagster.store.home import Home, storage_error


def make_workspace(home: Home, root_run: str) -> Path:
    """The folder of a root run and its recoveries, which reuse what the finished steps wrote there."""
    folder = home.workspace(root_run)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, folder) from error
    return folder.resolve()
