"""What came after failed runs: list it, show it, take it over."""

import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from elexirion_dagster.dialects.load import load_string
from elexirion_dagster.dialects.lookup import find_all
from elexirion_dagster.errors import InputError
from elexirion_dagster.records import Json
from elexirion_dagster.recovery.candidates import candidate_file
from elexirion_dagster.recovery.report import NAME
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.database import Rows, ingest, query
from elexirion_dagster.store.failures.recoveries import past
from elexirion_dagster.store.home import Home, open_home
from elexirion_dagster.store.journal import JournalWriter

_LIST = """
SELECT run, pipeline, cause, action, decided_at, time_to_recovery_s, CASE WHEN adopted_at IS NOT NULL THEN 'adopted'
    WHEN json_array_length(launches) = 0 THEN 'parked' WHEN recovered_at IS NULL THEN 'waits'
    WHEN succeeded IS NULL THEN 'under way' WHEN succeeded THEN 'succeeded' ELSE 'failed again' END AS state
FROM recovery_times ORDER BY decided_at DESC LIMIT ?
"""
_FIND = "SELECT root_run, run, tenant FROM recovery_times WHERE starts_with(run, ?)"


@dataclass(frozen=True, slots=True)
class Shown:
    """One failed run and what was done: the fields of its decision, its report, the document derived for it."""

    fields: dict[str, Json]
    report: str | None
    document: str | None


@dataclass(frozen=True, slots=True)
class Adopted:
    """What a person took over: the file of a derived document, or None for a run that is parked."""

    run: str
    pipeline: str
    cause: str
    report: Path
    """What is known of the failure, where the run is parked."""
    file: Path | None
    rule: str | None
    """A fallback rule that runs the document."""


def listed(settings: Settings, *, limit: int) -> Rows:
    """The newest recoveries, newest first."""
    home = open_home(settings.home)
    ingest(home)
    return query(home, _LIST, [limit])


def show(beginning: str, settings: Settings) -> Shown:
    """Everything about one failed run. Raises InputError when there is none."""
    home = open_home(settings.home)
    root_run, run, _ = _find(home, beginning)
    report, document = home.report(run) / NAME, candidate_file(home, run)
    names = ("pipeline", "cause", "message", "action", "reason", "change", "launches", "due_at", "max_recoveries")
    line = past(home, root_run).decided[run]
    fields = {"run": run, "root_run": root_run, **{name: line[name] for name in names}}
    if line.get("awaits"):
        fields |= {name: line[name] for name in ("awaits", "latest_at", "max_wait_s")}
    return Shown(fields, *(file.read_text(encoding="utf-8") if file.exists() else None for file in (report, document)))


def adopt(beginning: str, settings: Settings) -> Adopted:
    """Take over a parked run, or a derived document as a pipeline of one's own; once. Raises InputError."""
    home = open_home(settings.home)
    root_run, run, tenant = _find(home, beginning)
    with FileLock(home.path / "adopt.lock", mode=0o600):
        before = past(home, root_run)
        line = before.decided[run]
        if run in before.adopted:
            raise InputError(f"{run} was adopted before", mend="`elexirion recoveries show` has what came of it.")
        if line["action"] not in ("park", "derive"):
            mend = "Only parked runs and derived documents are adopted."
            raise InputError(f"{run} went on by itself ({line['action']}): there is nothing to adopt", mend=mend)
        file = _own_file(home, run, settings) if line["action"] == "derive" else None
        with closing(JournalWriter(home, root_run=root_run, run=run, tenant=tenant)) as journal:
            journal.append("adoption", durable=True, what=line["action"], file=str(file) if file else None)
    rule = None if file is None else f"- {json.dumps({'on': [line['cause']], 'run': file.stem})}"
    return Adopted(run, line["pipeline"], line["cause"], home.report(run) / NAME, file, rule)


def _own_file(home: Home, run: str, settings: Settings) -> Path:
    """Put a derived document among the user's pipelines."""
    text = candidate_file(home, run).read_text(encoding="utf-8")
    pipeline = load_string(text, known=find_all(settings)).pipeline
    folder = settings.pipelines or Path.cwd() / "pipelines_yaml"
    file = folder / f"{pipeline.name}.yaml"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise InputError(f"{file} is there already", mend="Move it, then adopt again.") from error
    return file.resolve()


def _find(home: Home, beginning: str) -> tuple[str, str, str | None]:
    ingest(home)
    rows = query(home, _FIND, [beginning]).rows
    if len(rows) != 1:
        told = f"{len(rows)} failed runs begin" if rows else "no failed run that was decided about begins"
        raise InputError(f"{told} with {beginning!r}", mend="`elexirion recoveries list` lists them.")
    return str(rows[0][0]), str(rows[0][1]), rows[0][2]
