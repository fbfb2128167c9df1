"""How values travel between ops: JSON files, never pickle."""

import json
from typing import Any

import dagster as dg
from upath import UPath


class JsonIOManager(dg.UPathIOManager):
    """Keeps each op's output as one JSON file, so that a re-execution finds it and a person can read it."""

    extension = ".json"

    def dump_to_path(self, context: dg.OutputContext, obj: Any, path: UPath) -> None:
        """Write the value."""
        del context
        path.write_text(json.dumps(obj, ensure_ascii=True), encoding="utf-8")

    def load_from_path(self, context: dg.InputContext, path: UPath) -> Any:
        """Read the value."""
        del context
        return json.loads(path.read_text(encoding="utf-8"))


@dg.io_manager
def json_io_manager(init_context: dg.InitResourceContext) -> JsonIOManager:
    """One folder per run below the instance's storage."""
    if init_context.instance is None:
        raise dg.DagsterInvariantViolationError("values travel through the instance's storage, and there is none")
    return JsonIOManager(UPath(init_context.instance.storage_directory()))
