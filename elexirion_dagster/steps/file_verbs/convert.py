"""`files` convert: JSON, YAML or CSV as another of them."""

from elexirion_dagster.errors import InputError
from elexirion_dagster.records import StepResult
from elexirion_dagster.spec.files import ConvertFile
from elexirion_dagster.steps.context import StepContext
from elexirion_dagster.steps.file_verbs.formats import format_data, format_of, parse_data
from elexirion_dagster.steps.file_verbs.sources import read_bytes
from elexirion_dagster.steps.writing import put


def run(verb: ConvertFile, ctx: StepContext) -> StepResult:
    """`data` holds the new `path`, its `size`, both formats, and how many `records` a list has."""
    shown, to = ctx.render(verb.from_), ctx.render(verb.to)
    source, target = format_of(shown, verb.from_format, "from_format"), format_of(to, verb.to_format, "to_format")
    content = read_bytes(ctx.readable(shown), shown)
    try:
        value = parse_data(content, source)
    except InputError as error:
        raise InputError(f"{shown!r} is not converted: {error.message}", mend=error.mend) from error
    try:
        converted = format_data(value, target)
    except InputError as error:
        raise InputError(f"{shown!r} does not become {target}: {error.message}", mend=error.mend) from error
    data = {
        "path": str(put(ctx.shared.workspace, to, converted)),
        "size": len(converted),
        "from_format": source,
        "to_format": target,
        "records": len(value) if isinstance(value, list) else None,
    }
    return StepResult("succeeded", data=data)
