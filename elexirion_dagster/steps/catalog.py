"""Which function runs which step type."""

from collections.abc import Callable, Mapping
from typing import Any

from elexirion_dagster.records import StepResult
from elexirion_dagster.steps import (
    analyze,
    command,
    files,
    for_each,
    llm,
    pipeline,
    query,
    set,  # noqa: A004 - named after the step type
    sql,
    switch,
    transform,
    while_,
)
from elexirion_dagster.steps.context import StepContext

RUNNERS: Mapping[str, Callable[[Any, StepContext], StepResult]] = {
    "llm": llm.run,
    "for_each": for_each.run,
    "while": while_.run,
    "switch": switch.run,
    "pipeline": pipeline.run,
    "transform": transform.run,
    "files": files.run,
    "command": command.run,
    "analyze": analyze.run,
    "query": query.run,
    "set": set.run,
    "sql": sql.run,
}
