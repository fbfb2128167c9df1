"""Telling somebody: a command that reads JSON, or a webhook that it is sent to."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path

from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.records import Json
from elexirion_dagster.shell import run

_COMMAND_S, _WEBHOOK_S = 30.0, 10.0
_SHOWN_CHARS = 300


def is_webhook(target: str) -> bool:
    """Whether an alert is sent to an address; else its target is a command."""
    return target.startswith(("http://", "https://"))


def send(target: str, message: Mapping[str, Json], *, folder: Path) -> None:
    """Tell `target`: a URL gets the message as its body, a command (no shell, in `folder`) on its standard input.

    Raises ElexirionError when it was not taken. The URL may hold a secret and is not in what is raised.
    """
    text = json.dumps(message, ensure_ascii=False)
    if is_webhook(target):
        _post(target, text)
        return
    done = run(shlex.split(target), cwd=folder, timeout_s=_COMMAND_S, stdin=text)
    if done.exit_code:
        said = (done.stderr or done.stdout).strip()[:_SHOWN_CHARS]
        raise ElexirionError(
            f"the alert command ended with exit code {done.exit_code}: {said or 'no output'}",
            cause="command_failed",
            mend="Mend the command in ELEXIRION_ALERT; it gets the message as JSON on its standard input.",
        )


def _post(url: str, text: str) -> None:
    # httpx takes 90 ms to import (measured); only a webhook needs it, and not before something changed.
    import httpx  # noqa: PLC0415

    try:
        answer = httpx.post(url, content=text, headers={"content-type": "application/json"}, timeout=_WEBHOOK_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        message = f"the alert webhook cannot be reached: {type(error).__name__}"
        raise ElexirionError(message, cause="connection", mend="Look at the URL in ELEXIRION_ALERT.") from None
    if not answer.is_success:
        message = f"the alert webhook answered {answer.status_code}"
        raise ElexirionError(message, cause="connection", mend="Look at the URL in ELEXIRION_ALERT.")
