"""`edit`: one exact replacement in a file of the workspace."""

from collections.abc import Mapping

from elexirion_dagster.codebase.confine import confine
from elexirion_dagster.errors import InputError
from elexirion_dagster.records import Json, Tool
from elexirion_dagster.steps.tools.place import ToolPlace
from elexirion_dagster.steps.writing import put

_SHOWN_PLACES = 10

TOOL = Tool(
    name="edit",
    description=(
        "Replace one piece of a file of the workspace. `old` must stand in the file exactly once, white space "
        "included and without the line numbers that read shows; give more of the lines around it to make it unique."
    ),
    input_schema={
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "The file, relative to the workspace"},
            "old": {"type": "string", "minLength": 1, "description": "The text as it stands in the file"},
            "new": {"type": "string", "description": "What to put in its place; empty to remove it"},
        },
        "required": ["path", "old", "new"],
        "additionalProperties": False,
    },
)


def use(arguments: Mapping[str, Json], place: ToolPlace) -> str:
    """Say where the file was changed."""
    path, old, new = arguments["path"], arguments["old"], arguments["new"]
    confine(place.workspace, path)
    text = _text(place, path)
    if "\r\n" in text and "\r\n" not in old:
        old, new = old.replace("\n", "\r\n"), new.replace("\r\n", "\n").replace("\n", "\r\n")
    at = _only(text, old, path)
    if old == new:
        raise InputError("old and new are the same", mend="Say in `new` what is to be different.")
    put(place.workspace, path, f"{text[:at]}{new}{text[at + len(old) :]}".encode("utf-8", "backslashreplace"))
    line = text.count("\n", 0, at) + 1
    return f"changed {path} at line {line:,}"


def _text(place: ToolPlace, path: str) -> str:
    try:
        return place.read(path).decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path!r} is not UTF-8, so a part of it cannot be replaced safely", mend="Leave it as it is."
        ) from error


def _only(text: str, old: str, path: str) -> int:
    """Where the one place is. Raises InputError that says how to find it."""
    places = _places(text, old)
    if len(places) == 1:
        return places[0]
    if places:
        lines = ", ".join(f"{text.count(chr(10), 0, at) + 1}" for at in places)
        more = " and more" if len(places) == _SHOWN_PLACES else ""
        raise InputError(
            f"`old` stands in {path!r} more than once, at lines {lines}{more}; nothing was changed",
            mend="Give more of the lines around the one you mean.",
        )
    raise InputError(f"`old` does not stand in {path!r}; nothing was changed", mend=_hint(text, old))


def _places(text: str, old: str) -> list[int]:
    places: list[int] = []
    at = text.find(old)
    while at >= 0 and len(places) < _SHOWN_PLACES:
        places.append(at)
        at = text.find(old, at + 1)
    return places


def _hint(text: str, old: str) -> str:
    """Say where its first line is, if that is there but for the white space around it."""
    first = next((line.strip() for line in old.splitlines() if line.strip()), "")
    for number, line in enumerate(text.splitlines(), start=1):
        if first and line.strip() == first:
            return f"Its first line stands at line {number:,}: copy the text from there exactly, with its indentation."
    return "Read the file again and copy the text exactly, without the line numbers."
