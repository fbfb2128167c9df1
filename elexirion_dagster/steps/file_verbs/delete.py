"""`files` delete: a file or a folder of the workspace."""

import os
import shutil
import stat

from elexirion_dagster.codebase.writing import entry, parent_of
from elexirion_dagster.errors import PolicyError
from elexirion_dagster.records import StepResult
from elexirion_dagster.spec.files import DeleteFiles
from elexirion_dagster.steps.context import StepContext
from elexirion_dagster.steps.writing import told


def run(verb: DeleteFiles, ctx: StepContext) -> StepResult:
    """`data` holds the `path` that was, and its `kind`: a link is deleted, not what it leads to."""
    shown = ctx.render(verb.path)
    place = entry(ctx.shared.workspace, shown)
    with told(shown), parent_of(ctx.shared.workspace, place) as at:
        folder = stat.S_ISDIR(os.stat(place.name, dir_fd=at, follow_symlinks=False).st_mode)
        if folder and not verb.recursive:
            raise PolicyError(f"{shown!r} is a folder", cause="tool_denied", mend="Say recursive: true.")
        if folder:
            shutil.rmtree(place.name, dir_fd=at)
        else:
            os.unlink(place.name, dir_fd=at)
    return StepResult("succeeded", data={"path": str(place), "kind": "folder" if folder else "file"})
