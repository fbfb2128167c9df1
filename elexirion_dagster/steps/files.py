"""List, read and write files."""

from elexirion_dagster.codebase.files import list_files, read_text
from elexirion_dagster.records import StepResult
from elexirion_dagster.spec.files import FilesStep, ListFiles, ReadFile, WriteFile
from elexirion_dagster.steps.context import StepContext
from elexirion_dagster.steps.writing import put


def run(step: FilesStep, ctx: StepContext) -> StepResult:
    """Do the one verb that the step has."""
    if step.list_ is not None:
        return _list(step.list_, ctx)
    if step.read is not None:
        return _read(step.read, ctx)
    if step.write is not None:
        return _write(step.write, ctx)
    raise AssertionError("the model allows exactly one verb")


def _list(verb: ListFiles, ctx: StepContext) -> StepResult:
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
