"""Dagster's web server as an ASGI application: the only module that knows how Dagster builds it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._utils.log import configure_loggers
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.cli import DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_MAX_OVERFLOW, DEFAULT_POOL_RECYCLE
from dagster_webserver.version import __version__
from starlette.types import ASGIApp

_POLL_MS = 2000
"""How often a page asks for news of assets; the default of `dagster-webserver`."""


def set_up_logs() -> None:
    """Write Dagster's log lines as `dagster-webserver` does."""
    configure_loggers(formatter="colored", log_level="INFO")


@contextmanager
def dagster_app(workspace: Path, *, path_prefix: str = "", read_only: bool = False) -> Iterator[ASGIApp]:
    """Serve the code locations of a workspace file on the instance in DAGSTER_HOME, while the `with` block lasts."""
    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_RECYCLE, DEFAULT_POOL_MAX_OVERFLOW)
        with WorkspaceProcessContext(
            instance,
            version=__version__,
            read_only=read_only,
            workspace_load_target=WorkspaceFileTarget(paths=[str(workspace)]),
        ) as context:
            yield create_app_from_workspace_process_context(context, path_prefix, _POLL_MS)
