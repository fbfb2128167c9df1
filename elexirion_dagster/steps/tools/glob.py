"""`glob`: which files there are."""

from collections.abc import Mapping

from elexirion_dagster.codebase.globs import matcher
from elexirion_dagster.records import Json, Tool
from elexirion_dagster.steps.tools.place import ToolPlace
from elexirion_dagster.steps.tools.walk import files_below

_MOST_PATHS = 500

TOOL = Tool(
    name="glob",
    description=(
        "List files whose paths match a git-style pattern such as **/*.py, docs/ or src/**/test_?.js, in order of "
        f"their paths, at most {_MOST_PATHS}. Folders of tools and caches (.git, node_modules, …) are left out."
    ),
    input_schema={
        "type": "object",
        "properties": {
            "pattern": {"type": "string", "minLength": 1, "maxLength": 1000, "description": "Which files"},
            "path": {"type": "string", "description": "Folder to look in; the workspace when left out"},
        },
        "required": ["pattern"],
        "additionalProperties": False,
    },
)


def use(arguments: Mapping[str, Json], place: ToolPlace) -> str:
    """The paths, one a line."""
    wanted = matcher([arguments["pattern"]])
    found = sorted(file.shown for file in files_below(place, arguments.get("path", ".")) if wanted(file.path))
    if not found:
        return "[no file matches]"
    more = len(found) - _MOST_PATHS
    note = [f"[{more:,} more files; name a folder or a narrower pattern]"] if more > 0 else []
    return "\n".join([*found[:_MOST_PATHS], *note])
