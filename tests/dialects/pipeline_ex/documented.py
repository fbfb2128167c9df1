"""The state under the documented tables of expressions."""

from elexirion_dagster.dialects.pipeline_ex.expressions.translate import (
    Names,
    Shape,
    template,
)
from elexirion_dagster.expressions import Engine
from elexirion_dagster.templating.keyed import Keyed

STARTED = "2026-11-23T10:20:30+00:00"


ANALYSIS = {
    "score": 8.5,
    "status": "passed",
    "path": "/src/a.ex",
    "warn": [1, 2],
    "issues": [{"severity": "high", "line": 3}, {"severity": "low", "line": 9}],
    "ts": "2026-11-22T23:00:00Z",
    "name": "a-b",
    "passed": True,
    "result": "fine",
}


SCOPE = {
    "vars": {
        "count": 5,
        "f": 1.5,
        "items": [1, 2, 3],
        "user": {"name": "Bob"},
        "a": True,
        "first": "Ada",
        "last": "Byron",
        "my_var": "kebab",
        "foo": "bar",
        "rows": [{"name": "x", "n": 2}, {"name": "y", "n": 4}],
    },
    "inputs": {"a": 2, "code_file": "a.py"},
    "run": {"id": "r1", "started_at": STARTED, "pipeline": "p"},
    "file": {"name": "b.py", "ok": True},
    "loop": {"index": 1, "index0": 0, "length": 2, "key": "b.py"},
    "steps": {
        "analysis": {"status": "succeeded", "text": "the text", "data": ANALYSIS},
        "a": {"status": "succeeded", "text": '{"items": ["a", "b"], "n": 3}', "data": None},
        "my_step": {"status": "skipped", "text": None, "error": None, "data": {"score": 3}},
        "tiers": {"status": "succeeded", "data": [{"key": "gold", "items": [7]}, {"key": "tin", "items": []}]},
        "tasks": {
            "status": "failed",
            "error": {"cause": "unknown", "message": "none"},
            "data": {"items": 2, "succeeded": 1, "failed": 1},
            "results": Keyed(
                [
                    {"key": "list_files", "status": "succeeded", "ask": {"text": "A", "status": "succeeded"}},
                    {"key": "t2", "status": "failed", "ask": {"text": "B", "status": "failed"}},
                ]
            ),
        },
        "each": {
            "status": "succeeded",
            "data": {"items": 1, "succeeded": 1},
            "results": [{"key": "k", "item": 1, "status": "succeeded", "look": {"text": "t", "data": {"n": 1}}}],
        },
    },
}


NAMES = Names(
    steps=frozenset({"analysis", "a", "my_step", "tiers", "tasks", "each"}),
    renamed={"my-step": "my_step", "my-var": "my_var", "orders_by_tier": "tiers"},
    inputs=frozenset({"a", "code_file"}),
    vars=frozenset(SCOPE["vars"]),
    loop_names=frozenset({"file"}),
    results={
        "analysis": Shape("data", fields=frozenset({"status", "result"})),
        "a": Shape("text"),
        "my_step": Shape("data"),
        "tiers": Shape("groups", output_field="orders_by_tier"),
        "tasks": Shape("tasks", inner={"ask": Shape("text")}),
        "each": Shape("for_each", inner={"look": Shape("data")}),
    },
    previous="analysis",
)


ENGINE = Engine()


def evaluated(text: str, names: Names = NAMES):
    return ENGINE.evaluate(template(text, names).text, SCOPE)
