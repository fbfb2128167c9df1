"""Which tools there are, and using one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from elexirion_dagster.errors import Cancelled, ElexirionError, InputError, StorageError
from elexirion_dagster.records import Json, Tool
from elexirion_dagster.steps.tools import command, edit, glob, grep, read, write
from elexirion_dagster.steps.tools.place import ToolPlace

__all__ = ["ToolOutcome", "ToolPlace", "offered", "use"]

_MOST_BYTES = 30_000
_SHOWN_CHARS = 500


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """What a tool answered, at most 30 kB and not redacted; an error's text says how to mend it."""

    text: str
    is_error: bool


def _tool(name: str, programs: Sequence[str]) -> Tool:
    return _FIXED[name] if name in _FIXED else command.tool(programs)


_FIXED: Mapping[str, Tool] = {one.TOOL.name: one.TOOL for one in (read, write, edit, glob, grep)}
_USES: Mapping[str, Callable[[Mapping[str, Json], ToolPlace], str]] = {
    "read": read.use,
    "write": write.use,
    "edit": edit.use,
    "glob": glob.use,
    "grep": grep.use,
    "command": command.use,
}


def offered(names: Sequence[str], programs: Sequence[str]) -> tuple[Tool, ...]:
    """The tools of these names as a request carries them, in the catalogue's order whatever the order of `names`.

    Raises InputError for a name that is none, and for `command` without programs.
    """
    unknown = [name for name in names if name not in _USES]
    if unknown:
        raise InputError(f"there is no tool {unknown[0]!r}", mend=f"Tools: {', '.join(_USES)}.")
    if "command" in names and not programs:
        raise InputError("the tool command needs programs", mend="Grant some: {command: [pytest, ruff]}.")
    return tuple(_tool(name, programs) for name in _USES if name in names)


def use(name: str, arguments: Mapping[str, Json], place: ToolPlace) -> ToolOutcome:
    """Use a tool as a model asked. What the model did wrong becomes an outcome that tells it how to mend it.

    Raises Cancelled, StorageError, and ElexirionError (timeout) when the step's time is over.
    """
    if name not in _USES:
        return ToolOutcome(f"there is no tool {name!r}. Tools: {', '.join(_USES)}.", is_error=True)
    validator = Draft202012Validator(_tool(name, place.programs).input_schema)
    wrong = best_match(validator.iter_errors(dict(arguments)))
    if wrong is not None:
        where = f" ({wrong.json_path})" if wrong.path else ""
        return ToolOutcome(f"the arguments do not fit{where}: {_cut(wrong.message, _SHOWN_CHARS)}", is_error=True)
    try:
        return ToolOutcome(_cut(_USES[name](arguments, place), _MOST_BYTES), is_error=False)
    except (Cancelled, StorageError):
        raise
    except ElexirionError as error:
        if error.cause == "timeout":
            raise
        return ToolOutcome(_cut(str(error), _MOST_BYTES), is_error=True)


def _cut(text: str, most: int) -> str:
    """At most so many bytes, with a last line that says what is missing."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= most:
        return data.decode()
    kept = data[: most - 100].decode(errors="ignore")
    return f"{kept}\n[{len(data) - len(kept.encode()):,} bytes left out]"
