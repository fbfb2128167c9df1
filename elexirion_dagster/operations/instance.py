"""The Dagster instance of the home: written once, shared by CLI runs and the UI."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from elexirion_dagster.execution import workers
from elexirion_dagster.operations.databases import prepare
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.first_use import first_use
from elexirion_dagster.store.home import Home, open_home, storage_error, write_atomically
from elexirion_dagster.store.prune import PruneReport
from elexirion_dagster.store.prune import prune as prune_home
from elexirion_dagster.tags import FIRST, LANE_OF_TAG, LANE_TAG, MODEL_TAG
from elexirion_dagster.workspace import release
from elexirion_dagster.yamlio import dump, load_file

PRELOAD = ["elexirion_dagster.definitions", "anthropic", "google.genai"]
"""What the workers of runs find imported already."""
_SETTINGS = f"""\
# The Dagster instance that `elexirion` runs and the UI share. Written by `elexirion init`; yours to edit.
# Storage is Dagster's own: SQLite files in this folder, in WAL mode, which many processes of a machine may use at once.
# docs/instance.md has a variant on Postgres, and the figures behind what stands here.

# Nothing is told to anybody.
telemetry: {{enabled: false}}
nux: {{enabled: false}}

# Runs wait in a queue, so that the limits below hold for whatever starts them. Starting one is mostly waiting: eight
# threads start them side by side, and look for new ones every second instead of every five.
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config: {{dequeue_use_threads: true, dequeue_num_workers: 8, dequeue_interval_seconds: 1}}

# A run's process is forked from one that has imported everything: a fraction of a second instead of five.
run_launcher:
  module: elexirion_dagster.execution.launcher
  class: WarmRunLauncher
  config:
    preload: {json.dumps(PRELOAD)}

# More than a hundred runs may wait for models at once, of one pipeline or of several. First runs leave places to
# recoveries, and no pipeline takes all of theirs; no model that a run was given by its tag takes all places. Calls are
# limited apart from this, by ELEXIRION_RATES and budgets.
concurrency:
  runs:
    max_concurrent_runs: 170
    tag_concurrency_limits:
      - {{key: {LANE_TAG}, value: {FIRST}, limit: 130}}
      - {{key: {LANE_OF_TAG}, value: {{applyLimitPerUniqueValue: true}}, limit: 120}}
      - {{key: {MODEL_TAG}, value: {{applyLimitPerUniqueValue: true}}, limit: 150}}

# Sensors and schedules do not wait for one another, and submit the runs they ask for side by side. One thread is nearly
# always with the sensor that looks for failures.
sensors: {{use_threads: true, num_workers: 5, num_submit_workers: 8}}
schedules: {{use_threads: true, num_workers: 4, num_submit_workers: 8}}

# A run whose process died is failed within seconds. Starting may take long when a hundred start at once on few cores,
# and a run given up too early would be lost although its process lives; dead ones are found without this timeout.
# Cancelling takes up to 15 seconds, then the process is killed.
run_monitoring:
  enabled: true
  start_timeout_seconds: 300
  cancel_timeout_seconds: 30
  poll_interval_seconds: 5

# A step retries by itself, and a run that failed is not started again blindly: both on would do the same twice.
run_retries: {{enabled: false}}

# Looks that found nothing to do are not kept longer than a day.
retention:
  sensor:
    purge_after_days: {{skipped: 1, failure: 30, success: 30}}
"""


@dataclass(frozen=True, slots=True)
class Initialised:
    """What `init` found or wrote."""

    home: Home
    config: Path
    written: bool
    repaired: tuple[str, ...] = ()
    """What was wrong with the instance's databases and is not any more."""


def init(settings: Settings) -> Initialised:
    """Create the home and its Dagster instance, databases included; what is there stays as it is.

    However many processes do so at once, one makes what is missing. Raises StorageError or PipelineError.
    """
    home = open_home(settings.home)
    config = home.dagster / "dagster.yaml"
    written = not config.exists() and _write_config(home, config)
    return Initialised(home, config, written, tuple(prepare(home, load_file(config).data)))


def _write_config(home: Home, config: Path) -> bool:
    """False where another process was faster."""
    try:
        with first_use(home.path):
            if config.exists():
                return False
            write_atomically(config, _SETTINGS.encode())
    except OSError as error:
        raise storage_error(error, config) from error
    return True


def dagster_environment(home: Home, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for Dagster's own programs: this home's instance, telemetry off."""
    return {
        **environ,
        "ELEXIRION_HOME": str(home.path),
        "DAGSTER_HOME": str(home.dagster),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
    }


def workspace_file(home: Home, sockets: Mapping[str, Path]) -> Path:
    """The workspace file for `elexirion up`: the code locations, each served at a socket."""
    locations = [
        {"grpc_server": {"socket": str(socket), "location_name": location}} for location, socket in sockets.items()
    ]
    path = home.dagster / "workspace.yaml"
    write_atomically(path, dump({"load_from": locations}).encode())
    return path


def prune(settings: Settings, days: int) -> PruneReport:
    """Remove workspaces and reports of old runs, and what is kept of their workers; unsaved commits stay."""
    home, now = open_home(settings.home), datetime.now(UTC)
    report = prune_home(home, older_than_days=days, now=now, release=partial(release, home))
    freed = workers.prune(home.dagster / workers.WORKERS, (now - timedelta(days=days)).timestamp())
    return replace(report, freed_bytes=report.freed_bytes + freed)
