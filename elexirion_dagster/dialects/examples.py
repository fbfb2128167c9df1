"""The files of labelled rows that a document names."""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from elexirion_dagster.errors import InputError, Problem
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.yamlio import Document


def examples_file(document: Path, reference: str) -> Path:
    """The file that a document's `examples` names: below the document's folder, links resolved. Raises InputError."""
    folder = document.resolve().parent
    try:
        found = (folder / reference).resolve()
        there = found.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{reference!r} is no usable path: {error}", mend="Name an existing file.") from error
    if not there:
        beside = [path.name for path in found.parent.iterdir()] if found.parent.is_dir() else []
        close = get_close_matches(found.name, beside, n=1)
        raise InputError(f"the file {reference} does not exist", mend=f"Did you mean {close[0]!r}?" if close else None)
    if not found.is_relative_to(folder):
        raise InputError(f"{reference} leads out of {folder}", mend="Put the file below the folder of this one.")
    return found


def missing_examples(document: Document, pipeline: Pipeline) -> Iterator[Problem]:
    """The files that are not there; a document that is no file itself has none to look for."""
    for step, reference in pipeline.examples.items() if document.file else ():
        try:
            examples_file(Path(str(document.file)), reference)
        except InputError as error:
            yield document.problem(f"examples of {step}: {error.message}", ("examples", step), error.mend)
