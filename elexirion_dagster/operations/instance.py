"""The Dagster instance of the home: written once, shared by CLI runs and the UI."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from elexirion_dagster.settings import Settings
from elexirion_dagster.store.home import Home, open_home
from elexirion_dagster.store.prune import PruneReport
from elexirion_dagster.store.prune import prune as prune_home
from elexirion_dagster.workspace import release
from elexirion_dagster.yamlio import dump

PRELOAD = ["elexirion_dagster.definitions", "anthropic", "google.genai"]
"""What the workers of runs find imported already."""
_SETTINGS = {
    "telemetry": {"enabled": False},
    "nux": {"enabled": False},
    "run_coordinator": {
        "module": "dagster.core.run_coordinator",
        "class": "QueuedRunCoordinator",
        "config": {"dequeue_use_threads": True, "dequeue_num_workers": 8, "dequeue_interval_seconds": 1},
    },
    "run_launcher": {
        "module": "elexirion_dagster.execution.launcher",
        "class": "WarmRunLauncher",
        "config": {"preload": PRELOAD},
    },
    "concurrency": {"runs": {"max_concurrent_runs": 150}},
    "sensors": {"use_threads": True, "num_workers": 4},
    "schedules": {"use_threads": True, "num_workers": 4},
    "run_monitoring": {
        "enabled": True,
        "start_timeout_seconds": 60,
        "cancel_timeout_seconds": 30,
        "poll_interval_seconds": 5,
    },
    "run_retries": {"enabled": False},
    "retention": {"sensor": {"purge_after_days": {"skipped": 1, "failure": 30, "success": 30}}},
}
_HEAD = """\
# The Dagster instance that `elexirion` runs and the UI share. Written by `elexirion init`; yours to edit.
# Run retries stay off: a step retries by itself, and a run that failed is not started again blindly.
"""


@dataclass(frozen=True, slots=True)
class Initialised:
    """What `init` found or wrote."""

    home: Home
    config: Path
    written: bool


def init(settings: Settings) -> Initialised:
    """Create the home and its Dagster instance; what is there stays as it is."""
    home = open_home(settings.home)
    config = home.dagster / "dagster.yaml"
    if config.exists():
        return Initialised(home, config, written=False)
    config.write_text(_HEAD + dump(_SETTINGS), encoding="utf-8")
    config.chmod(0o600)
    return Initialised(home, config, written=True)


def dagster_environment(home: Home, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for Dagster's own programs: this home's instance, telemetry off."""
    return {
        **environ,
        "ELEXIRION_HOME": str(home.path),
        "DAGSTER_HOME": str(home.dagster),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
    }


def workspace_file(home: Home) -> Path:
    """The workspace file for `elexirion up`: both code locations by module, wherever they are installed."""
    locations = [
        {"python_module": {"module_name": module, "location_name": module.partition(".")[0]}}
        for module in ("elexirion_dagster.definitions", "optimizer_assets.definitions")
    ]
    path = home.dagster / "workspace.yaml"
    path.write_text(dump({"load_from": locations}), encoding="utf-8")
    path.chmod(0o600)
    return path


def prune(settings: Settings, days: int) -> PruneReport:
    """Remove workspaces and reports of runs older than so many days; worktrees with commits on no branch stay."""
    home = open_home(settings.home)
    return prune_home(home, older_than_days=days, now=datetime.now(UTC), release=partial(release, home))
