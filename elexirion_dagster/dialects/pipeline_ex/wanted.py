"""Which fields a document takes of a model's answer although no schema says that the answer has them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from elexirion_dagster.dialects.pipeline_ex.naming import original_name
from elexirion_dagster.dialects.pipeline_ex.schemas import ANY
from elexirion_dagster.records import Json

ASKING = frozenset(
    {
        *("claude", "gemini", "claude_smart", "claude_session", "claude_extract", "claude_robust"),
        *("gemini_instructor", "prompt", "llm"),
    }
)
"""Step types whose answer is one model's."""
_OWN = frozenset(
    {
        *("text", "content", "result", "results", "success", "cost", "error", "status", "data", "output", "response"),
        *("model", "tokens", "duration", "length", "name", "skipped", "reason", "session_id", "usage"),
    }
)
"""Fields that a result has by itself."""
_SOURCES = frozenset({"input_source", "data_source", "right_source", "over", "files"})
_CONDITIONS = frozenset({"condition", "expression", "break_condition", "and", "or", "not", "when"})
_RECORDS: Mapping[str, Json] = MappingProxyType({"type": "array", "items": {"type": "object"}})
_REFERENCE = re.compile(
    r"(?<![\w.:'\"-])(?:steps\.|previous_response:)?([\w-]+)[.:]([A-Za-z_][\w-]*)((?:[.:][A-Za-z_][\w-]*)*)"
    r"(\s*(?:>=|<=|<|>|between|[-+*/]\s*\d))?"
)
_NUMBER: Mapping[str, Json] = MappingProxyType({"type": "number"})


def wanted_fields(steps: Sequence[Json]) -> dict[str, dict[str, Json]]:
    """For each asking step without a schema the fields that others take of it, each with its schema.

    A task of a step that asks many things stands as `step.task`.
    """
    every = [(name, step) for step in _all(list(steps)) if (name := original_name(step))]
    untyped = {name for name, step in every if _is_untyped(step)}
    untyped |= {f"{name}.{task}" for name, step in every for task in _tasks(step)}
    found: dict[str, dict[str, Json]] = {}
    for key, value in _strings(list(steps), ""):
        for name, field, schema in _taken(key, value):
            if name in untyped and field and field not in _OWN:
                fields = found.setdefault(name, {})
                if field not in fields or fields[field] == ANY:
                    fields[field] = schema
    return found


def _is_untyped(step: Mapping[str, Json]) -> bool:
    typed = any(step.get(key) for key in ("schema", "output_schema", "functions", "output"))
    return str(step.get("type")) in ASKING and not typed


def _tasks(step: Mapping[str, Json]) -> Iterator[str]:
    for tasks in (step.get("tasks"), step.get("parallel_tasks")):
        for task in tasks if isinstance(tasks, list) else ():
            if isinstance(task, dict) and (task.get("task_id") or task.get("id")):
                yield str(task.get("task_id") or task.get("id"))


def _all(value: Json) -> Iterator[dict[str, Json]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _all(inner)


def _strings(value: Json, key: str) -> Iterator[tuple[str, str]]:
    """Every text with the key it stands under; a prompt part's reference in the form that texts have."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, key)
    elif isinstance(value, dict):
        if isinstance(value.get("extract"), str) and (value.get("step") or value.get("name")):
            yield "extract", f"previous_response:{value.get('step') or value.get('name')}:{value['extract']}"
        for inner, item in value.items():
            yield from _strings(item, inner)


def _taken(key: str, text: str) -> Iterator[tuple[str, str, Json]]:
    """The (step, field, schema) that one text takes; of `a.b.c` both b of a, and c of the task b of a."""
    schema = _RECORDS if key in _SOURCES else ANY
    inside = [text] if key in _CONDITIONS or key in _SOURCES else re.findall(r"\{\{([^{}]+)\}\}", text)
    if "previous_response:" in text:
        inside = [*inside, *re.findall(r"previous_response:[\w.:-]+", text)]
    for expression in inside:
        for name, field, rest, compared in re.findall(_REFERENCE, expression):
            yield name, field, dict(_NUMBER if compared and not rest else schema)
            after = rest.strip(".:").split(".")[0].split(":")[0]
            yield f"{name}.{field}", after, dict(_NUMBER if compared else schema)
            if field in ("result", "data", "output"):
                yield name, after, dict(_NUMBER if compared else schema)
