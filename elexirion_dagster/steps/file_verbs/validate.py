"""`files` validate: whether files are as they should be, and in what they are not."""

from collections.abc import Iterator
from pathlib import Path

from elexirion_dagster.errors import InputError
from elexirion_dagster.prompting.parse import checker
from elexirion_dagster.records import Json, StepError, StepResult
from elexirion_dagster.spec.files import ValidateFiles
from elexirion_dagster.steps.context import StepContext
from elexirion_dagster.steps.file_verbs.formats import format_of, parse_data
from elexirion_dagster.steps.file_verbs.sources import read_bytes

_SHOWN = 20


def run(verb: ValidateFiles, ctx: StepContext) -> StepResult:
    """`data` holds how many were `checked`, and `problems`: records of path and problem."""
    paths = _paths(verb, ctx)
    problems: list[Json] = []
    for path in paths:
        ctx.go_on()
        found = _problems(verb, ctx, path, ctx.readable(path))
        problems += [
            {"path": ctx.shared.redactor.text(path), "problem": ctx.shared.redactor.text(problem)} for problem in found
        ]
    data = {"checked": len(paths), "problems": problems}
    if not problems:
        return StepResult("succeeded", data=data)
    lines = [f"{one['path']}: {one['problem']}" for one in problems]
    more = [f"and {len(lines) - _SHOWN:,} more"] if len(lines) > _SHOWN else []
    return StepResult("failed", data=data, error=StepError("check_failed", "; ".join([*lines[:_SHOWN], *more])))


def _paths(verb: ValidateFiles, ctx: StepContext) -> list[str]:
    value = ctx.evaluate(verb.path if isinstance(verb.path, str) else list(verb.path))
    paths = value if isinstance(value, list) else [value]
    if not paths or not all(isinstance(path, str) and path for path in paths):
        raise InputError("path is to be a path or a list of paths, at least one", mend="Refer to paths.")
    return paths


def _problems(verb: ValidateFiles, ctx: StepContext, path: str, real: Path) -> Iterator[str]:
    if not real.exists():
        if verb.exists:
            yield "does not exist"
        return
    if not verb.exists:
        yield "exists"
    elif verb.kind == "folder":
        if not real.is_dir():
            yield "is no folder"
    elif verb.model_fields_set - {"path", "exists"}:
        yield from _of_file(verb, ctx, path, real)


def _of_file(verb: ValidateFiles, ctx: StepContext, path: str, real: Path) -> Iterator[str]:
    if not real.is_file():
        yield "is no file"
        return
    size = real.stat().st_size
    if verb.min_bytes is not None and size < verb.min_bytes:
        yield f"has {size:,} bytes, at least {verb.min_bytes:,} were expected"
    if verb.max_bytes is not None and size > verb.max_bytes:
        yield f"has {size:,} bytes, at most {verb.max_bytes:,} were expected"
    if verb.contains is None and verb.format is None and verb.schema_ is None:
        return
    try:
        content = read_bytes(real, path)
    except InputError as error:
        yield error.message
        return
    text = None if verb.contains is None else ctx.render(verb.contains)
    if text is not None and text.encode("utf-8", "backslashreplace") not in content:
        yield f"does not contain {text[:100]!r}"
    if verb.format is not None or verb.schema_ is not None:
        yield from _of_data(verb, path, content)


def _of_data(verb: ValidateFiles, path: str, content: bytes) -> Iterator[str]:
    form = format_of(path, verb.format, "format")
    try:
        value = parse_data(content, form)
    except InputError as error:
        yield error.message
        return
    schema = verb.json_schema()
    if schema is not None:
        yield from checker(schema)(value)
