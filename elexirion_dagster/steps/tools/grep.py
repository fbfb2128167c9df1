"""`grep`: which lines match a regular expression, in linear time."""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import re2  # type: ignore[import-untyped]  # google-re2 ships no types

from elexirion_dagster.codebase.globs import matcher
from elexirion_dagster.errors import InputError
from elexirion_dagster.records import Json, Tool
from elexirion_dagster.steps.tools.place import ToolPlace, is_binary
from elexirion_dagster.steps.tools.walk import Found, files_below, shown

_MOST_MATCHES = 200
_MOST_ANSWER_BYTES = 28_000
_MOST_STATES = 3_000
_MOST_FILE_BYTES = 4_000_000
_MOST_BYTES = 200_000_000
_LINE_CHARS = 300
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

TOOL = Tool(
    name="grep",
    description=(
        "Find the lines that match a regular expression (RE2 syntax: no look-around, no back-references), as "
        f"path:line:text, at most {_MOST_MATCHES}. Binary files and folders of tools and caches are left out."
    ),
    input_schema={
        "type": "object",
        "properties": {
            "pattern": {"type": "string", "minLength": 1, "maxLength": 1000, "description": "What to look for"},
            "path": {"type": "string", "description": "Folder or file to look in; the workspace when left out"},
            "include": {"type": "string", "minLength": 1, "maxLength": 1000, "description": "Only files like **/*.py"},
            "ignore_case": {"type": "boolean", "description": "Whether a and A are the same; false when left out"},
        },
        "required": ["pattern"],
        "additionalProperties": False,
    },
)

Match = Callable[[str], bool]


@dataclass(slots=True)
class _Tally:
    """What was left out of the search so far, and how much was read."""

    skipped: int = 0
    read_bytes: int = 0


def use(arguments: Mapping[str, Json], place: ToolPlace) -> str:
    """The matching lines, and what was left out."""
    matches = _compiled(arguments["pattern"], ignore_case=arguments.get("ignore_case", False))
    tally = _Tally()
    found: list[str] = []
    more = False
    room = _MOST_ANSWER_BYTES
    for line in _matching(arguments, place, matches, tally):
        room -= len(line.encode()) + 1
        more = len(found) == _MOST_MATCHES or room < 0
        if more:
            break
        found.append(line)
    notes = ["[more lines match; name a folder, a file pattern or a narrower expression]"] if more else []
    if tally.skipped:
        notes.append(f"[left out: {tally.skipped:,} files that are binary, unreadable or beyond 4 MB]")
    return "\n".join([*(found or ["[no line matches]"]), *notes])


def _compiled(pattern: str, *, ignore_case: bool) -> Match:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 22
    options.case_sensitive = not ignore_case
    try:
        regex = re2.compile(pattern, options)
    except (re2.error, ValueError) as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else error
        raise InputError(f"the pattern cannot be read: {reason}", mend="Write it in RE2 syntax.") from error
    if regex.programsize > _MOST_STATES:
        raise InputError("the pattern is too costly", mend="Use shorter repeats.")
    return lambda line: regex.search(line) is not None


def _matching(arguments: Mapping[str, Json], place: ToolPlace, matches: Match, tally: _Tally) -> Iterator[str]:
    path = arguments.get("path", ".")
    if place.find(path).is_file():
        yield from _lines(shown(path), place.read(path), matches, place)
        return
    include = arguments.get("include")
    wanted: Any = matcher([include]) if include else bool
    for file in files_below(place, path):
        if wanted(file.path):
            data = _content(file, tally)
            yield from _lines(file.shown, data, matches, place)


def _content(file: Found, tally: _Tally) -> bytes:
    """The bytes of a file of text, none of any other."""
    try:
        with open(os.open(file.name, _OPEN, dir_fd=file.at), "rb") as stream:  # noqa: PTH123 - a descriptor, not a path
            regular = stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
            data = stream.read(_MOST_FILE_BYTES + 1) if regular else b"\0"
    except OSError:
        data = b"\0"
    if is_binary(data) or len(data) > _MOST_FILE_BYTES:
        tally.skipped += 1
        return b""
    tally.read_bytes += len(data)
    if tally.read_bytes > _MOST_BYTES:
        raise InputError("there is too much to look into at once", mend="Name a folder or a file pattern.")
    return data


def _lines(name: str, data: bytes, matches: Match, place: ToolPlace) -> Iterator[str]:
    place.go_on()
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), start=1):
        if matches(line):
            rest = len(line) - _LINE_CHARS
            text = line.rstrip("\r") if rest <= 0 else f"{line[:_LINE_CHARS]} [{rest:,} characters more]"
            yield f"{name}:{number}:{text}"
