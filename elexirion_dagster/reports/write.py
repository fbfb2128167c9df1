"""Reports as files: private and whole, or not there at all."""

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from elexirion_dagster.errors import StorageError
from elexirion_dagster.reports import html, json_report, markdown, sarif
from elexirion_dagster.reports.report import Report

FORMATS: Mapping[str, Callable[[Report], str]] = {
    "report.md": markdown.render,
    "report.html": html.render,
    "report.json": json_report.render,
    "report.sarif": sarif.render,
}


def write(report: Report, folder: Path) -> dict[str, Path]:
    """Write the report in every form into `folder` (made if need be), readable by its owner only.

    Returns the files by their names. Raises StorageError where the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return {name: _replace(folder / name, render(report)) for name, render in FORMATS.items()}
    except OSError as error:
        raise StorageError(
            f"the report cannot be written to {folder}: {error.strerror}",
            mend="Name a folder that you may write, on a disk with room.",
        ) from error


def _replace(path: Path, text: str) -> Path:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path
