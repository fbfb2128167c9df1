"""The web server that `elexirion up` starts: Dagster's, behind the guard.

`python -m elexirion_dagster.web.server --port 3000 --workspace workspace.yaml`, with DAGSTER_HOME set.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.redact import Redactor
from elexirion_dagster.settings import Settings
from elexirion_dagster.web.code_server_client import wait_for_code_servers
from elexirion_dagster.web.dagster_ui import dagster_app, set_up_logs
from elexirion_dagster.web.guard import MOST_FRAME_BYTES, Guard


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal comes; the exit code."""
    given = _parser().parse_args(arguments)
    try:
        settings = Settings.from_env(os.environ)
    except ElexirionError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    set_up_logs()
    wait_for_code_servers()
    with dagster_app(given.workspace, path_prefix=given.path_prefix, read_only=given.read_only) as app:
        redactor = Redactor(secrets=settings.secrets())
        guard = Guard(app, redactor=redactor, hosts=settings.hosts, path_prefix=given.path_prefix)
        uvicorn.run(guard, host=given.host, port=given.port, log_level="warning", ws_max_size=MOST_FRAME_BYTES)
    return 0


def _parser() -> argparse.ArgumentParser:
    """The options of `dagster-webserver` that mean something here, with the variables that it reads for two of them."""
    parser = argparse.ArgumentParser(prog="python -m elexirion_dagster.web.server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=3000)
    parser.add_argument("--workspace", type=Path, required=True, help="Dagster's workspace.yaml")
    parser.add_argument(
        "--path-prefix",
        default=os.environ.get("DAGSTER_WEBSERVER_PATH_PREFIX", ""),
        help="serve below this path, for example /elexirion; default: $DAGSTER_WEBSERVER_PATH_PREFIX",
    )
    parser.add_argument(
        "--read-only",
        action="store_true",
        default=os.environ.get("DAGSTER_WEBSERVER_READ_ONLY", "").lower() in {"1", "true", "t", "yes", "y", "on"},
        help="refuse every change; default: $DAGSTER_WEBSERVER_READ_ONLY",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
