"""Answer a question about a code base."""

import os
from functools import cache

from elexirion_dagster.codebase.query.code_base import Answer, Code, open_code
from elexirion_dagster.codebase.query.contents import find_files, find_symbols
from elexirion_dagster.codebase.query.dependencies import find_dependents, find_impact, find_imports, paths_of
from elexirion_dagster.codebase.query.survey import Means
from elexirion_dagster.records import Json, StepResult
from elexirion_dagster.spec.query import QueryStep
from elexirion_dagster.steps.context import StepContext

_FROM_SOURCE = ("name", "module", "names", "parent", "reason")
"""Fields whose text is written by whoever wrote the code, so a secret may stand there."""


def run(step: QueryStep, ctx: StepContext) -> StepResult:
    """`data` holds the records under the verb's name, `unparsed`, and how many files were looked at by whom."""
    root = ctx.readable(ctx.render(step.root))
    means = Means(
        workers=os.cpu_count() or 1,
        timeout_s=ctx.time_left_s(),
        cancelled=ctx.shared.cancelled,
        on_progress=lambda done, of: ctx.shared.progress(ctx.path, done, 0, of, None),
    )
    code = open_code(
        root,
        include=[ctx.render(pattern) for pattern in step.include],
        exclude=[ctx.render(pattern) for pattern in step.exclude],
        languages=step.languages,
        means=means,
    )
    verb, answer = _answer(step, code, ctx)
    data = {
        verb: _redacted(answer.records, ctx),
        "unparsed": _redacted(answer.unparsed, ctx),
        "root": str(code.root),
        "source": code.listed.source,
        "note": code.listed.note,
    }
    figures = {verb: len(answer.records), "unparsed": len(answer.unparsed), "source": code.listed.source}
    return StepResult("succeeded", data=data, metadata=figures)


def _answer(step: QueryStep, code: Code, ctx: StepContext) -> tuple[str, Answer]:
    if (files := step.files) is not None:
        return "files", find_files(code, name=_text(files.name, ctx), contains=_text(files.contains, ctx))
    if (symbols := step.symbols) is not None:
        of = _paths(symbols.of, code, ctx)
        return "symbols", find_symbols(code, name=_text(symbols.name, ctx), kinds=symbols.kind, of=of)
    if (imports := step.imports) is not None:
        return "imports", find_imports(code, of=_paths(imports.of, code, ctx))
    if (dependents := step.dependents) is not None:
        return "dependents", find_dependents(code, of=paths_of(code, ctx.evaluate(dependents.of)))
    if (impact := step.impact) is not None:
        of = paths_of(code, ctx.evaluate(impact.of))
        return "impact", find_impact(code, of=of, max_depth=impact.max_depth)
    raise AssertionError("the model allows exactly one verb")


def _paths(of: Json, code: Code, ctx: StepContext) -> list[str] | None:
    """The paths that a question is about; None for every file."""
    return None if of is None else paths_of(code, ctx.evaluate(of))


def _text(template: str | None, ctx: StepContext) -> str | None:
    return None if template is None else ctx.render(template)


def _redacted(records: list[dict[str, Json]], ctx: StepContext) -> list[dict[str, Json]]:
    text = cache(ctx.shared.redactor.text)

    def clean(value: Json) -> Json:
        return [text(one) for one in value] if isinstance(value, list) else text(value) if value else value

    fields = [field for field in _FROM_SOURCE if records and field in records[0]]
    return [{**record, **{field: clean(record[field]) for field in fields}} for record in records]
