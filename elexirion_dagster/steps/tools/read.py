"""`read`: lines of a file, numbered."""

from collections.abc import Mapping, Sequence

from elexirion_dagster.codebase.files import decode
from elexirion_dagster.errors import InputError
from elexirion_dagster.records import Json, Tool
from elexirion_dagster.steps.tools.place import ToolPlace

_MOST_LINES = 2000
_MOST_CHARS = 28_000
_LINE_CHARS = 2000

TOOL = Tool(
    name="read",
    description=(
        "Read a file of text. Each line comes with its number and a tab, which are not part of the file. "
        "A relative path is looked up in the workspace. For a long file, give offset and limit."
    ),
    input_schema={
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "The file"},
            "offset": {"type": "integer", "minimum": 1, "description": "First line, 1 when left out"},
            "limit": {
                "type": "integer",
                "minimum": 1,
                "maximum": _MOST_LINES,
                "description": f"How many lines, {_MOST_LINES} when left out",
            },
        },
        "required": ["path"],
        "additionalProperties": False,
    },
)


def use(arguments: Mapping[str, Json], place: ToolPlace) -> str:
    """The lines asked for, and how to get the rest."""
    path, first = arguments["path"], arguments.get("offset", 1)
    lines = _lines(decode(place.read(path)))
    if not lines:
        return f"[{path} is empty]"
    if first > len(lines):
        raise InputError(f"{path!r} has {len(lines):,} lines, offset {first:,} is beyond them", mend="Lower offset.")
    shown = _numbered(lines, first, arguments.get("limit", _MOST_LINES))
    last = first + len(shown) - 1
    if last < len(lines):
        shown.append(f"[lines {first:,} to {last:,} of {len(lines):,}; go on with offset {last + 1}]")
    return "\n".join(shown)


def _lines(text: str) -> list[str]:
    lines = text.removeprefix("\ufeff").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _numbered(lines: Sequence[str], first: int, limit: int) -> list[str]:
    """The lines with their numbers, at least one, as far as they fit."""
    shown: list[str] = []
    room = _MOST_CHARS
    for number, line in enumerate(lines[first - 1 : first - 1 + limit], start=first):
        rest = len(line) - _LINE_CHARS
        text = line.removesuffix("\r") if rest <= 0 else f"{line[:_LINE_CHARS]} [{rest:,} characters more]"
        entry = f"{number:>6}\t{text}"
        room -= len(entry.encode()) + 1
        if room < 0 and shown:
            break
        shown.append(entry)
    return shown
