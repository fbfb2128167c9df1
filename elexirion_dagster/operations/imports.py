"""Documents of another dialect as native files."""

from dataclasses import dataclass
from pathlib import Path

from elexirion_dagster.dialects.load import Loaded, load_any
from elexirion_dagster.dialects.lookup import find, find_all
from elexirion_dagster.dialects.pipeline_ex.notes import Note
from elexirion_dagster.dialects.pipeline_ex.structure import is_theirs
from elexirion_dagster.errors import InputError, StorageError
from elexirion_dagster.settings import Settings
from elexirion_dagster.yamlio import dump, load_file


@dataclass(frozen=True, slots=True)
class Imported:
    """A native file's text, the list as comments on its top, and that list."""

    text: str
    notes: tuple[Note, ...]


def import_file(target: str, settings: Settings, *, output: Path | None = None, test_steps: bool = False) -> Imported:
    """The native file of a document written for pipeline_ex, saved where `output` says.

    Raises InputError for a native document and for an output that cannot be, PipelineError for an unusable document,
    also where what was saved cannot be used there: files that it names are relative to it.
    """
    file = find(target, settings)
    if not is_theirs(load_file(file).data):
        raise InputError(f"{target} is written in this language already", mend="There is nothing to import.")
    known = find_all(settings)
    loaded = load_any(file, known, test_steps=test_steps)
    name = _free_stem(output) if output else loaded.pipeline.name
    text = _text(loaded, name, file)
    if output is not None:
        _save(output, text)
        load_any(output, known, test_steps=test_steps)
    return Imported(text, loaded.notes)


def _text(loaded: Loaded, name: str, file: Path) -> str:
    """The native document after the list, as comments."""
    said = [" ".join(str(note).split()) for note in loaded.notes]
    head = [f"# Imported from {file.name}." + (" What was changed or could not be honoured:" if said else "")]
    data = loaded.document.data
    return "\n".join([*head, *(f"#   {line}" for line in said), "", dump({**data, "name": name})])


def _free_stem(output: Path) -> str:
    """The name that a file gives its pipeline."""
    if output.suffix not in (".yaml", ".yml"):
        raise InputError(f"{output} is no name of a pipeline file", mend="Call it NAME.yaml.")
    if output.exists():
        raise InputError(f"{output} is there already", mend="Name another file, or remove that one.")
    return output.stem


def _save(output: Path, text: str) -> None:
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{output} cannot be written: {error.strerror}", mend="Name another file.") from error
