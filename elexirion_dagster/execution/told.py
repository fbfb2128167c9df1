"""A program of ours that tells how it gets on, one JSON line at a time."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.records import Json

_GRACE_S = 30.0
_TAIL_CHARS = 2_000


def told(command: Sequence[str], *, environment: Mapping[str, str], cwd: Path) -> Iterator[Mapping[str, Json]]:
    """What a program says on standard output, line by line, until it ends; leaving the loop early ends it.

    Lines that are no JSON object are passed over. Raises ElexirionError when it ends with a code other than 0 and the
    last line had no `error`; what it wrote on standard error is then in the message.
    """
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            list(command),
            env=dict(environment),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches it through us, once
        )
        last: Mapping[str, Json] = {}
        try:
            for line in process.stdout or ():
                if said := _object(line):
                    last = said
                    yield said
            code = process.wait()
        finally:
            _end(process)
        if code and "error" not in last:
            complaints.seek(0)
            tail = complaints.read().decode(errors="replace")[-_TAIL_CHARS:].strip()
            message = f"{command[-1]} ended by itself with exit code {code}"
            raise ElexirionError(f"{message}:\n{tail}" if tail else message, cause="worker_lost")


def _object(line: str) -> Mapping[str, Json]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _end(process: subprocess.Popen[str]) -> None:
    """Ask it to end as a terminal would, wait a little, then kill what is left."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(_GRACE_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
