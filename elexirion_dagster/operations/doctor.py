"""What is configured, what is missing, how to mend it."""

import importlib.metadata
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from elexirion_dagster.codebase.analyzers.catalog import ANALYZERS, PACKAGES
from elexirion_dagster.codebase.executables import find
from elexirion_dagster.errors import ElexirionError
from elexirion_dagster.operations.instance import init
from elexirion_dagster.operations.local_models import models as local_models
from elexirion_dagster.operations.pipelines import listing
from elexirion_dagster.providers.catalog import configured, resolve
from elexirion_dagster.settings import Settings

_PACKAGES = ("elexirion", "dagster", "dagster-webserver", "duckdb", "anthropic", "google-genai")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing looked at: `ok` None means that it is optional and absent."""

    subject: str
    ok: bool | None
    detail: str
    mend: str | None = None


def examine(settings: Settings) -> list[Diagnosis]:
    """Look at everything a run needs, without network."""
    return [
        *_programs(),
        _home(settings),
        *_models(settings),
        *_pipelines(settings),
        _optimizer(),
        *_embedded(settings),
    ]


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


def _home(settings: Settings) -> Diagnosis:
    try:
        home = init(settings).home
    except ElexirionError as error:
        return Diagnosis("home", ok=False, detail=error.message, mend=error.mend)
    return Diagnosis("home", ok=True, detail=str(home.path))


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
        yield Diagnosis("model: auto", ok=False, detail=error.message, mend=error.mend)
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
