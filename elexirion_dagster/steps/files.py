"""List, read and write files; the other verbs have files of their own."""

from collections.abc import Callable
from typing import Any

from elexirion_dagster.codebase.files import list_files, read_text
from elexirion_dagster.errors import InputError
from elexirion_dagster.records import StepResult
from elexirion_dagster.spec.files import FilesStep, ListFiles, ReadFile, WriteFile
from elexirion_dagster.steps.context import StepContext
from elexirion_dagster.steps.file_verbs import convert, copy, delete, diff, move, validate
from elexirion_dagster.steps.writing import put


def run(step: FilesStep, ctx: StepContext) -> StepResult:
    """Do the one verb that the step has."""
    verbs: list[tuple[Any, Callable[[Any, StepContext], StepResult]]] = [
        (step.list_, _list),
        (step.read, _read),
        (step.write, _write),
        (step.copy_, copy.run),
        (step.move, move.run),
        (step.delete, delete.run),
        (step.convert, convert.run),
        (step.validate_, validate.run),
        (step.diff, diff.run),
    ]
    return next(does(verb, ctx) for verb, does in verbs if verb is not None)


def _list(verb: ListFiles, ctx: StepContext) -> StepResult:
    if verb.git == "due":
        return _due(ctx)
    root = ctx.readable(ctx.render(verb.root))
    listed = list_files(
        root,
        git=verb.git,
        include=[ctx.render(pattern) for pattern in verb.include],
        exclude=[ctx.render(pattern) for pattern in verb.exclude],
        max_file_kb=verb.max_file_kb,
        cancelled=ctx.shared.cancelled,
    )
    data = {
        "root": str(root),
        "files": listed.files,
        "source": listed.source,
        "note": listed.note,
        "skipped": listed.skipped,
    }
    figures = {"files": len(listed.files), "skipped": len(listed.skipped), "source": listed.source}
    return StepResult("succeeded", data=data, metadata=figures)


def _due(ctx: StepContext) -> StepResult:
    """The files of this run's batch; `data` also says of which repository and commit they are."""
    if ctx.shared.due is None:
        raise InputError("this run has no partitions, so none are due", mend="Run the pipeline that has them.")
    data = ctx.shared.due()
    figures = {"files": len(data["files"]), "skipped": len(data["skipped"]), "commit": data["commit"] or "working tree"}
    return StepResult("succeeded", data=data, metadata=figures)


def _read(verb: ReadFile, ctx: StepContext) -> StepResult:
    path = ctx.readable(ctx.render(verb.path))
    raw = read_text({"root": str(path.parent), "path": path.name}, granted=(path.parent,))
    text = ctx.shared.redactor.text(raw)
    return StepResult("succeeded", data={"path": str(path), "size": len(text.encode())}, text=text)


def _write(verb: WriteFile, ctx: StepContext) -> StepResult:
    text = ctx.render(verb.text)
    path = write_text(ctx, ctx.render(verb.path), text)
    return StepResult("succeeded", data={"path": path, "size": len(text.encode())})


def write_text(ctx: StepContext, path: str, text: str) -> str:
    """Write a file of the workspace and return its absolute path; PolicyError for a path that leads out."""
    return str(put(ctx.shared.workspace, path, text.encode("utf-8", "backslashreplace")))
