"""How the result of a native step is addressed, read off the step."""

from collections.abc import Mapping

from elexirion_dagster.dialects.pipeline_ex.expressions.scope import Shape
from elexirion_dagster.dialects.pipeline_ex.steps.many import ASK
from elexirion_dagster.records import Json

_COMMAND = frozenset({"exit_code", "stdout", "stderr"})


def shape_of(step: Mapping[str, Json], output_field: str = "") -> Shape:
    """The shape of one step's result; `output_field` is what the document calls a data_transform's value."""
    kind, fields = step["type"], (step.get("output") or {}).get("properties")
    if kind == "llm" and step.get("output"):
        return Shape("data", frozenset(fields or ()))
    if kind == "for_each":
        inner = {one["name"]: shape_of(one) for one in step["steps"]}
        return Shape("tasks" if ASK in inner and step["as"] in ("task", "file") else "for_each", inner=inner)
    if kind == "transform":
        return _of_ops(step["ops"], output_field)
    if kind in ("set", "pipeline"):
        return Shape("data", frozenset(step.get("vars") or step.get("outputs") or ()))
    speaks = kind in ("llm", "command") or "read" in step or (kind == "switch" and step["name"] == ASK)
    return Shape("text", _COMMAND if kind == "command" else frozenset()) if speaks else Shape()


def _of_ops(ops: list[Mapping[str, Json]], output_field: str) -> Shape:
    """A list of groups, one record of figures, or a list of records."""
    last = ops[-1]
    if "group" in last or ("aggregate" in last and any("group" in op for op in ops)):
        return Shape("groups", output_field=output_field)
    if "aggregate" in last:
        return Shape("data", frozenset(last["aggregate"]))
    return Shape("data", output_field=output_field)
