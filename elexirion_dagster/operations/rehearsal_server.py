"""The rehearsal server for people and runs: what points a client at it, and serving until somebody stops it."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from elexirion_dagster.rehearsal.script import load_script
from elexirion_dagster.rehearsal.server import RehearsalServer
from elexirion_dagster.settings import Settings

_KEY = "no-key-the-model-is-a-script"


def variables(base_url: str) -> dict[str, str]:
    """The environment variables that point our providers at a rehearsal server."""
    return {
        "ANTHROPIC_API_KEY": _KEY,
        "ANTHROPIC_BASE_URL": base_url,
        "GEMINI_API_KEY": _KEY,
        "ELEXIRION_GEMINI_BASE_URL": base_url,
        "ELEXIRION_LOCAL_URL": f"{base_url}/v1",
    }


def rehearsed(settings: Settings, base_url: str) -> Settings:
    """The same settings with every provider at a rehearsal server: `auto` is anthropic, and no day's budget counts.

    No other key of the user's is there: a provider that cannot be played is not configured.
    """
    played = Settings.from_env(variables(base_url))
    pointed = {name: getattr(played, name) for name in played.model_fields_set - {"home", "environ"}}
    no_keys = dict.fromkeys(Settings.secret_fields())
    return settings.model_copy(update={**no_keys, **pointed, "model": None, "budget_usd_per_day": None})


def sight(calls: int, faults: Mapping[str, int]) -> str:
    """What a server saw, in words."""
    played = ", ".join(f"{kind} x {count}" for kind, count in sorted(faults.items()))
    return f"the server saw {calls} model call{'s' * (calls != 1)} and played {played or 'no fault'}"


def serve(script: Path, *, port: int, ready: Callable[[str], None], say: Callable[[str], None]) -> NoReturn:
    """Play a script until the user stops it (KeyboardInterrupt); `ready` gets the base URL once it listens."""
    with RehearsalServer(load_script(script), port=port) as server:
        ready(server.base_url)
        try:
            while True:
                threading.Event().wait()
        finally:
            say(sight(server.count, server.faults))
