"""What is configured, what is missing, how to mend it."""

import importlib.metadata
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

from elexirion_dagster.codebase.analyzers.catalog import ANALYZERS, PACKAGES
from elexirion_dagster.codebase.executables import find
from elexirion_dagster.configuration import faults
from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.operations.local_models import models as local_models
from elexirion_dagster.operations.pipelines import listing
from elexirion_dagster.providers.catalog import configured, resolve
from elexirion_dagster.sandbox.isolation import INSTALL, available
from elexirion_dagster.settings import Settings
from elexirion_dagster.store.accounts.ledger import Ledger
from elexirion_dagster.store.database import ingest, query
from elexirion_dagster.store.home import Home, open_home, storage_error
from elexirion_dagster.store.host import this_host
from elexirion_dagster.store.journal import read_lines

_PACKAGES = ("elexirion", "dagster", "dagster-webserver", "duckdb", "anthropic", "google-genai")
_NEWEST = 50
"""So many root runs of the journal are read: all of a large one would take minutes."""

_ELSEWHERE = "Use Linux, or a container, for pipelines whose programs or models you do not trust."


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing looked at: `ok` None means that it is optional and absent."""

    subject: str
    ok: bool | None
    detail: str
    mend: str | None = None


def examine_environment(environ: Mapping[str, str]) -> list[Diagnosis]:
    """Look at everything a run needs, settings that cannot even be read included."""
    try:
        settings = Settings.from_env(environ)
    except ElexirionError as error:
        return [*_programs(), _failed("settings", error)]
    return examine(settings)


def examine(settings: Settings) -> list[Diagnosis]:
    """Look at everything a run needs, without network."""
    return [
        *_programs(),
        *_settings(settings),
        *_storage(settings),
        _isolation(settings),
        *_models(settings),
        *_pipelines(settings),
        _optimizer(),
        *_embedded(settings),
    ]


def _failed(subject: str, error: ElexirionError) -> Diagnosis:
    return Diagnosis(subject, ok=False, detail=error.message, mend=error.mend)


def _programs() -> Iterator[Diagnosis]:
    yield Diagnosis("python", ok=True, detail=platform.python_version())
    for package in _PACKAGES:
        version = _version(package)
        yield Diagnosis(
            package, bool(version), version or "not installed", None if version else f"pip install {package}"
        )
    git = shutil.which("git")
    yield Diagnosis(
        "git", bool(git) or None, git or "not found", None if git else "Install git: without it every file is listed."
    )
    for name in ANALYZERS:
        path = find(name)
        mend = None if path else f"pip install {PACKAGES[name]}"
        yield Diagnosis(f"analyzer {name}", path is not None, str(path or "not found"), mend)


def _isolation(settings: Settings) -> Diagnosis:
    """What programs of pipelines are isolated by; without, they still run unless it is required."""
    if settings.sandbox == "off":
        return Diagnosis("isolation", None, "off (ELEXIRION_SANDBOX)", "Unset ELEXIRION_SANDBOX to isolate programs.")
    found = available()
    if found.kind == "none":
        ok = False if settings.sandbox == "required" else None
        mend = f"{INSTALL}: without, programs see all that you can." if sys.platform == "linux" else _ELSEWHERE
        return Diagnosis("isolation", ok, f"none: {found.detail}", mend)
    detail = f"{found.kind} ({found.detail}), {settings.sandbox}"
    return Diagnosis("isolation", ok=True, detail=detail)


def _settings(settings: Settings) -> Iterator[Diagnosis]:
    found = faults(settings)
    for fault in found:
        yield Diagnosis(fault.variable, ok=False, detail=fault.message, mend=fault.mend)
    if not found:
        yield Diagnosis("settings", ok=True, detail="all can be used")


def _storage(settings: Settings) -> Iterator[Diagnosis]:
    """Open everything that is kept in the home, as runs and `up` do."""
    try:
        home = open_home(settings.home)
    except ElexirionError as error:
        yield _failed("home", error)
        return
    yield Diagnosis("home", ok=True, detail=f"{home.path}; it serves one machine, {this_host().name}")
    looks: dict[str, Callable[[], str]] = {
        "Dagster instance": lambda: _instance(settings),
        "journal": lambda: _journal(home),
        "ledger": lambda: _ledger(home),
        "outcome tables": lambda: _tables(home),
    }
    for subject, look in looks.items():
        try:
            yield Diagnosis(subject, ok=True, detail=look())
        except ElexirionError as error:
            yield _failed(subject, error)


def _instance(settings: Settings) -> str:
    # Dagster takes 1.5 s to import (measured); without a home that can be used it is not needed.
    from elexirion_dagster.operations.opened import open_instance, read_all  # noqa: PLC0415 - 1.5 s, see above

    with open_instance(settings) as (home, instance):
        return f"{home.dagster}, {read_all(instance)}"


def _journal(home: Home) -> str:
    """Write to it, and read its newest root runs."""
    try:
        with tempfile.TemporaryFile(dir=home.journal) as file:
            file.write(b"a line")
    except OSError as error:
        raise storage_error(error, home.journal) from error
    folders = sorted(home.journal.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
    files = [file for folder in folders[:_NEWEST] for file in sorted(folder.glob("*.jsonl"))]
    damaged = [file for file in files if any(line.fields is None for line in read_lines(file))]
    said = f"{len(folders)} root runs"
    return f"{said}; lines that cannot be read are left out of {damaged[0]}" if damaged else said


def _ledger(home: Home) -> str:
    with closing(Ledger(home)) as ledger:
        ((count,),) = ledger.file.read("SELECT count(*) FROM scopes")
        with ledger.file.transaction():
            return f"{home.ledger_db}, {count} accounts"


def _tables(home: Home) -> str:
    report = ingest(home)
    ((count,),) = query(home, "SELECT count(*) FROM runs").rows
    said = "; they were damaged and built again from the journal" if report.rebuilt else ""
    return f"{home.outcomes_db}, {count} runs{said}"


def _models(settings: Settings) -> Iterator[Diagnosis]:
    for name, is_configured, mend in configured(settings):
        yield Diagnosis(
            f"model provider {name}",
            is_configured or None,
            "configured" if is_configured else "not configured",
            None if is_configured else mend,
        )
    try:
        models = resolve("auto", settings)
    except ElexirionError as error:
        yield _failed("model: auto", error)
        return
    named = ", ".join(str(model) for model in models)
    detail = named or "none: model steps are skipped, analyzers still run"
    yield Diagnosis("model: auto", bool(models) or None, detail)


def _pipelines(settings: Settings) -> Iterator[Diagnosis]:
    rows = listing(settings)
    for row in rows:
        if row.error is not None:
            yield Diagnosis(f"pipeline {row.name}", ok=False, detail=row.error)
    yield Diagnosis("pipelines", ok=True, detail=f"{sum(row.error is None for row in rows)} can be run")


def _optimizer() -> Diagnosis:
    version = _version("dspy")
    if version is None:
        return Diagnosis("optimizer", None, "dspy is not installed", "pip install 'elexirion[optimizer]'")
    return Diagnosis("optimizer", ok=True, detail=f"dspy {version}")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _embedded(settings: Settings) -> Iterator[Diagnosis]:
    for model in local_models(settings):
        mend = None if model.file else f"elexirion models pull {model.name}"
        detail = f"{model.file or 'not pulled'} ({model.note})"
        yield Diagnosis(f"model embedded/{model.name}", bool(model.file) or None, detail, mend)
