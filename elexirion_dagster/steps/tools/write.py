"""`write`: a whole file of the workspace."""

from collections.abc import Mapping

from elexirion_dagster.records import Json, Tool
from elexirion_dagster.steps.tools.place import ToolPlace
from elexirion_dagster.steps.writing import put

TOOL = Tool(
    name="write",
    description=(
        "Write a file of the workspace: a new one, or all of an old one anew. Folders on the way are made. "
        "To change a part of a file, use edit."
    ),
    input_schema={
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "The file, relative to the workspace"},
            "text": {"type": "string", "description": "All that the file is to hold"},
        },
        "required": ["path", "text"],
        "additionalProperties": False,
    },
)


def use(arguments: Mapping[str, Json], place: ToolPlace) -> str:
    """Say what was written."""
    data = arguments["text"].encode("utf-8", "backslashreplace")
    put(place.workspace, arguments["path"], data)
    return f"wrote {arguments['path']} ({len(data):,} bytes)"
