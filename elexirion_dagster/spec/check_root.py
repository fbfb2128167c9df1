"""What may be wrong with a document's root keys beside its steps: name, schedule, fallback."""

from collections.abc import Iterator
from keyword import iskeyword

from elexirion_dagster.spec.issues import Issue
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.spec.steps import ForEachStep

KEPT_BY_DAGSTER = frozenset(
    [
        "arg_dict",
        "bool",
        "conf",
        "config",
        "context",
        "dict",
        "float",
        "input",
        "input_arg_dict",
        "int",
        "meta",
        "output",
        "output_arg_dict",
        "str",
        "type",
    ]
)
"""Words that Dagster 1.13 allows as no job's name (its DISALLOWED_NAMES), besides Python's own."""


def check_root(pipeline: Pipeline) -> list[Issue]:
    """Everything wrong with the root keys."""
    return [*_check_name(pipeline), *_check_schedule(pipeline), *_check_fallback(pipeline)]


def _check_name(pipeline: Pipeline) -> Iterator[Issue]:
    if pipeline.name in KEPT_BY_DAGSTER or pipeline.name == "recover" or iskeyword(pipeline.name):
        yield Issue(
            ("name",), f"a job cannot be called {pipeline.name!r}", "Choose another name, and call the file so."
        )


def _check_schedule(pipeline: Pipeline) -> Iterator[Issue]:
    required = [name for name, declared in pipeline.inputs.items() if declared.required]
    if pipeline.schedule and required:
        message = f"a scheduled run has nobody to ask for the input {required[0]!r}"
        yield Issue(("inputs", required[0]), message, "Give it a default, or remove the schedule.")


def _check_fallback(pipeline: Pipeline) -> Iterator[Issue]:
    for index, rule in enumerate(pipeline.fallback):
        at = ("fallback", index)
        if rule.run == pipeline.name:
            yield Issue((*at, "run"), f"{pipeline.name} would run itself after it failed", "Use `change` or `wait`.")
        if rule.split and not any(isinstance(step, ForEachStep) for step in pipeline.steps):
            yield Issue((*at, "split"), "there is no top-level for_each whose items could be split", "Use `change`.")
        if rule.split and pipeline.partitions:
            message = "a pipeline with partitions works on its files in one run at a time, halves cannot be beside it"
            yield Issue((*at, "split"), message, "Give `files_per_run` a smaller number, or use `change`.")
