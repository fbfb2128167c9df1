"""`files` diff: what changed in listed files since they were last seen, or since a commit."""

from collections.abc import Mapping
from pathlib import Path

from elexirion_dagster.codebase.diffs import diffs
from elexirion_dagster.errors import InputError
from elexirion_dagster.records import Json, StepResult
from elexirion_dagster.spec.files import DiffFiles
from elexirion_dagster.steps.context import StepContext

_KB = 1024


def run(verb: DiffFiles, ctx: StepContext) -> StepResult:
    """`data.diffs` holds path, before, diff, added, removed and cut of each file that changed."""
    root = ctx.readable(ctx.render(verb.root))
    files = ctx.evaluate(verb.of)
    if not isinstance(files, list) or not all(map(_is_record, files)):
        raise InputError(f"`of` of {ctx.path} must be file records", mend="Use steps.<a files step>.data.files.")
    for folder in {file["root"] for file in files}:
        ctx.readable(folder)
    since = ctx.render(verb.since) if verb.since else None
    found = diffs(root, files, since=since, cancelled=ctx.shared.cancelled)
    records = []
    for one in found:
        text, cut = _short(ctx.shared.redactor.text(one.text), verb.max_kb * _KB)
        facts = {"added": one.added, "removed": one.removed, "cut": cut}
        records.append({"path": one.path, "before": one.before, "diff": text, **facts})
    return StepResult("succeeded", data={"diffs": records}, metadata={"files": len(files), "changed": len(records)})


def _is_record(file: Json) -> bool:
    if not isinstance(file, Mapping) or not {"root", "path", "blob"} <= file.keys():
        return False
    return isinstance(file["root"], str) and Path(file["root"]).is_absolute()


def _short(text: str, most: int) -> tuple[str, bool]:
    """The text's first whole lines, and whether there were more."""
    return (text, False) if len(text) <= most else (text[: text.rfind("\n", 0, most) + 1], True)
