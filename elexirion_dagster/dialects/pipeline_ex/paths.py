"""Files that old documents name, as `path` inputs and `files: read` steps: nothing else of the machine is readable."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath

from elexirion_dagster.dialects.pipeline_ex.book import Place
from elexirion_dagster.dialects.pipeline_ex.naming import free, slug
from elexirion_dagster.dialects.pipeline_ex.notes import Path
from elexirion_dagster.dialects.pipeline_ex.placed import Placed
from elexirion_dagster.records import Json

_INPUT = re.compile(r"\{\{ inputs\.([a-z0-9_]+) \}\}")
_MANY = 2


def reads(name: str, files: Sequence[tuple[str, Path]], place: Place, when: Json) -> tuple[Placed, list[str]]:
    """A step that reads the files a step's prompt holds, and the template of each file's text."""
    folders = Counter(_folder(text) for text, _ in files)
    paths = [readable(text, at, place, share=folders[_folder(text)] >= _MANY) for text, at in files]
    at = files[0][1]
    common = {"description": f"Files that the prompt of {name} holds", "when": when}
    if len(files) == 1:
        step = place.book.fresh(f"{name}_file")
        fields = {"name": step, "type": "files", **common, "read": {"path": paths[0]}}
        return Placed(at, fields), [f"{{{{ steps.{step}.text }}}}"]
    step = place.book.fresh(f"{name}_files")
    inner = {"name": "read", "type": "files", "read": {"path": "{{ path }}"}}
    loop = {"name": step, "type": "for_each", **common, "items": paths, "as": "path", "steps": [Placed(at, inner)]}
    return Placed(at, loop), [f"{{{{ steps.{step}.results[{index}].read.text }}}}" for index in range(len(files))]


def readable(text: str, at: Path, place: Place, *, share: bool = False) -> str:
    """The template of a path that the run may read; its file, or the folder it shares, becomes a `path` input."""
    made = place.book.made(text)
    if made is not None and (place.book.inside(text) or not os.path.exists(found(text, place.book.folder))):  # noqa: PTH110
        place.notes.add(at, f"{text} is read in the run's folder, where its steps write")
        return place.text(made, at)
    template = place.text(text, at)
    whole = _INPUT.fullmatch(template)
    if whole:
        _as_path(place.book.inputs.get(whole[1]))
        return template
    if "{{" not in text and "{%" not in template:
        if share and _folder(text):
            folder = _declare(_folder(text), at, place, "Folder of files that prompts hold")
            return f"{{{{ inputs.{folder} }}}}/{text.rpartition('/')[2]}"
        return f"{{{{ inputs.{_declare(text, at, place, 'File that prompts hold')} }}}}"
    head = template.partition("{{")[0].rpartition("/")[0]
    name = _declare(head or ".", at, place, "Folder of files that prompts hold")
    return f"{{{{ inputs.{name} }}}}/{template[len(head) :].lstrip('/')}"


def _folder(text: str) -> str:
    folder = text.rpartition("/")[0]
    return "" if "{{" in text or folder in ("", ".", "..") else folder


def _as_path(declared: Placed | None) -> None:
    """A text input that names a file is a path, or it could not be read."""
    if declared is not None and declared.get("type") == "string":
        declared["type"] = "path"


def _declare(text: str, at: Path, place: Place, description: str) -> str:
    """The input of a file or folder; the same one each time."""
    default, inputs = found(text, place.book.folder), place.book.inputs
    same = next((name for name, declared in inputs.items() if _names(declared, default)), None)
    if same is not None:
        return same
    name = free(slug(_stem(text), "folder"), inputs)
    place.book.need(name, at, "path", default=default, description=description)
    said = f"{text} is read through the input {name!r} of type path (give {name}=… for another one)"
    if not os.path.exists(default):  # noqa: PTH110 - Path.exists raises for long names
        said += "; there is no such file beside the document, nor in the folder you work in"
    place.notes.add(at, said)
    return name


def _names(declared: Mapping[str, Json], default: str) -> bool:
    return declared.get("type") == "path" and declared.get("default") == default


def _stem(text: str) -> str:
    last = text.rstrip("/").rpartition("/")[2]
    return last.partition(".")[0] or last.strip(".")


def found(text: str, folder: FilePath | None) -> str:
    """A path beside the document where it is there, else as written: then the folder one works in counts."""
    if folder is None or os.path.isabs(text):  # noqa: PTH117 - the text need not be a usable path
        return text
    beside = os.path.normpath(folder / text)
    try:
        return beside if os.path.exists(beside) else text  # noqa: PTH110 - as above
    except ValueError:
        return text
