"""`files` move: a file or a folder within the workspace."""

import os

from elexirion_dagster.codebase.writing import entry, parent_of
from elexirion_dagster.records import StepResult
from elexirion_dagster.spec.files import MoveFiles
from elexirion_dagster.steps.context import StepContext
from elexirion_dagster.steps.writing import told


def run(verb: MoveFiles, ctx: StepContext) -> StepResult:
    """`data` holds the new `path`. A file that is there is replaced, a folder with something in it is not."""
    root, shown, to = ctx.shared.workspace, ctx.render(verb.from_), ctx.render(verb.to)
    source, target = entry(root, shown), entry(root, to)
    with told(shown), parent_of(root, source) as here:
        os.stat(source.name, dir_fd=here, follow_symlinks=False)
        with told(to), parent_of(root, target, make=True) as there:
            os.rename(source.name, target.name, src_dir_fd=here, dst_dir_fd=there)
    return StepResult("succeeded", data={"path": str(target)})
