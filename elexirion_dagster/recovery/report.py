"""The report of a run that is left to a person."""

from datetime import UTC, datetime
from pathlib import Path

from elexirion_dagster.recovery.plan import Failed, Plan
from elexirion_dagster.store.failures.recoveries import Past
from elexirion_dagster.store.home import Home, storage_error, write_atomically

NAME = "parked.md"


def write_report(home: Home, failed: Failed, past: Past, plan: Plan) -> Path:
    """Write what failed, what was tried and what is left to do; returns where."""
    path = home.report(failed.run) / NAME
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, text(failed, past, plan).encode())
    except OSError as error:
        raise storage_error(error, path) from error
    return path


def text(failed: Failed, past: Past, plan: Plan) -> str:
    """The report as Markdown; what models and programs said stands in code blocks."""
    at = datetime.fromtimestamp(failed.at, UTC).isoformat(timespec="seconds")
    tried = [
        f"- `{run}` ({line['cause']}): {line['action']}, {_flat(line['reason'])}" for run, line in past.decided.items()
    ]
    said = "\n".join(f"    {line}" for line in (failed.message or "nothing was said").splitlines())
    return f"""\
# Parked: {failed.pipeline}

Run `{failed.run}` of the root run `{failed.root_run}` failed at {at} with the cause **{failed.cause}**.

{said}

## Why nothing more is done

    {_flat(plan.reason)}

## What was tried

{chr(10).join(tried) or "nothing: this is its first failure"}

## What you can do

Mend the cause. Then re-execute the run from failure in Dagster (`elexirion up`) to go on where it stopped (what is
finished and paid stays so), or begin anew with `elexirion run {failed.pipeline}`.
`elexirion recoveries adopt {failed.run}` marks the run as yours; it starts nothing.
"""


def _flat(words: str) -> str:
    return " ".join(words.split())
