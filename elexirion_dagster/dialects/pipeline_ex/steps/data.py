"""data_transform becomes `transform`."""

import json
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from elexirion_dagster.dialects.pipeline_ex.book import Place
from elexirion_dagster.dialects.pipeline_ex.expressions.pieces import literal
from elexirion_dagster.dialects.pipeline_ex.naming import slug
from elexirion_dagster.dialects.pipeline_ex.placed import Placed
from elexirion_dagster.dialects.pipeline_ex.reader import Reader
from elexirion_dagster.dialects.pipeline_ex.said import OPERATION
from elexirion_dagster.dialects.pipeline_ex.schemas import output_schema
from elexirion_dagster.dialects.pipeline_ex.steps.frame import native, output_to
from elexirion_dagster.records import Json

_FUNCTIONS: Mapping[str, str] = MappingProxyType(
    {
        **{word: word for word in ("sum", "count", "max", "min", "first", "last", "median", "count_distinct", "list")},
        **dict.fromkeys(("average", "avg", "mean"), "mean"),
        **dict.fromkeys(("std_dev", "stddev", "std"), "stddev"),
        **dict.fromkeys(("distinct", "distinct_count"), "count_distinct"),
    }
)
_HOW: Mapping[str, str] = MappingProxyType(
    {**{word: word for word in ("inner", "left", "right", "full", "anti", "semi")}, "outer": "full"}
)
_TEXTS: Mapping[str, str] = MappingProxyType(
    {"uppercase": "upper", "upper": "upper", "lowercase": "lower", "lower": "lower", "trim": "trim"}
)
_FIELD = ("field", "by", "key")


def data_transform(step: Reader, name: str, place: Place) -> list[Placed]:
    """The list, taken through the operations; the outcome is `data`."""
    value = step.value("input_source", "input", "source", "data")
    path = step.path("input_source", "input", "source", "data")
    source = place.source(value, path) if isinstance(value, str) else place.tree(value, path)
    if value is None:
        step.notes.refuse(step.at, f"the step {name!r} has no input_source", "Write which step's value it takes.")
    field = step.text("output_field") or name
    ops: list[Json] = []
    for index, operation in enumerate(step.items("operations")):
        at = (*step.path("operations"), index)
        if not isinstance(operation, dict):
            step.notes.refuse(at, f"expected an operation, got {operation!r:.60}", "Write operation: and its name.")
            continue
        reader = Reader(operation, at, place.notes, OPERATION)
        ops += [Placed(at, op) for op in _operation(reader, slug(field), place)]
        reader.close()
    if step.text("output_format") == "count":
        ops.append({"aggregate": {slug(field): {"function": "count"}}})
    elif step.text("output_format") == "string":
        step.say("not needed: a list inside text is written as JSON", "output_format")
    made = native(step, name, "transform", {"from": source, "ops": ops or [{"map": "{{ item }}"}]}, place)
    made.origins["from"] = path
    return [Placed(made.at, {**made, "output_to": output_to(step, place)}, made.origins)]


def _operation(op: Reader, field: str, place: Place) -> list[dict[str, Json]]:
    """One operation of theirs as those of ours that do the same; `field` names a figure."""
    word = op.text("operation", "type", "op") or ""
    words: Mapping[str, Callable[[], list[dict[str, Json]]]] = {
        "filter": lambda: _filter(op, place),
        "map": lambda: _map(op),
        "sort": lambda: _sort(op),
        **dict.fromkeys(("group_by", "group"), lambda: _group(op, field)),
        "aggregate": lambda: _aggregate(op, field),
        "join": lambda: _join(op, place),
        "flatten": lambda: [{"flatten": op.text(*_FIELD) or "item"}],
        "unique": lambda: _unique(op),
        **dict.fromkeys(("extract", "query"), lambda: _extract(op)),
        "validate": lambda: _validate(op),
        **dict.fromkeys(("limit", "take"), lambda: [{"limit": op.whole("limit", "count", "n") or 0}]),
    }
    if word in words:
        return words[word]()
    op.notes.refuse(op.path("operation"), f"unknown operation {word!r}", f"Operations: {', '.join(words)}.")
    return []


def _sort(op: Reader) -> list[dict[str, Json]]:
    order = "desc" if (op.text("order", "direction") or "asc").startswith("desc") else "asc"
    keys = [{"by": str(by), "order": order} for by in op.items(*_FIELD)] or [{"by": "item", "order": order}]
    return [{"sort": keys[0] if len(keys) == 1 else keys}]


def _unique(op: Reader) -> list[dict[str, Json]]:
    by = op.text(*_FIELD)
    return [{"unique": {"by": by} if by else True}]


def _extract(op: Reader) -> list[dict[str, Json]]:
    found = op.text("path", "expression", "query", *_FIELD) or ""
    return [{"extract": re.sub(r"^\$\.?", "", found)}]


def _validate(op: Reader) -> list[dict[str, Json]]:
    schema = output_schema(op.value("schema", "rules"), op.path("schema", "rules"), op.notes)
    return [{"validate": {"schema": schema, "on_error": "fail"}}]


def _filter(op: Reader, place: Place) -> list[dict[str, Json]]:
    field = op.text(*_FIELD)
    condition = op.text("condition", "expression", "where")
    if condition is None:
        return [{"filter": f"item.{field}" if field else "item"}]
    if field and re.match(r"\s*(==|!=|>=|<=|>|<|contains\b|in\b)", condition):
        condition = f"{field} {condition}"
    elif field:
        condition = re.sub(r"(?<![\w.'\"])value(?![\w.'\"(])", field, condition)
    return [{"filter": place.item_condition(condition, op.path("condition", "expression", "where"))}]


def _map(op: Reader) -> list[dict[str, Json]]:
    field, mapping = op.text("field"), op.map("mapping")
    expression = op.text("expression") or ""
    if mapping and field:
        value = f"item[{literal(field)}] | default(none)"
        return [_merged({field: f"{_written(mapping)}.get({value}, {value})"})]
    if mapping:
        return [_merged({key: _written(value) for key, value in mapping.items()})]
    if field and expression in _TEXTS:
        return [_merged({field: f"item[{literal(field)}] | {_TEXTS[expression]}"})]
    said = "not used: write what a record becomes as templates over `item`, in `map` of a transform step"
    op.say(said, "expression", "field", "mapping")
    return []


def _merged(fields: Mapping[str, str]) -> dict[str, Json]:
    inside = ", ".join(f"{literal(key)}: {value}" for key, value in fields.items())
    return {"map": f"{{{{ item | merge({{{inside}}}) }}}}"}


def _written(value: Json) -> str:
    """A constant inside an expression."""
    match value:
        case str():
            return literal(value)
        case dict():
            return "{" + ", ".join(f"{literal(str(key))}: {_written(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(_written(item) for item in value) + "]"
        case None:
            return "none"
        case bool():
            return str(value).lower()
    return json.dumps(value)


def _group(op: Reader, field: str) -> list[dict[str, Json]]:
    grouped: list[dict[str, Json]] = [{"group": {"by": op.text(*_FIELD) or "item"}}]
    figures = op.value("aggregate", "aggregations")
    if isinstance(figures, dict) and "function" in figures:
        reader = op.inside("aggregate", "aggregations", said=OPERATION)
        grouped += _aggregate(reader, field)
        reader.close()
    elif isinstance(figures, dict):
        named = {slug(str(key)): _figure(str(function), str(key), op) for key, function in figures.items()}
        grouped.append({"aggregate": named})
    return grouped


def _aggregate(op: Reader, field: str) -> list[dict[str, Json]]:
    of, function = op.text("field", "value_field", "of"), op.text("function") or "sum"
    by = op.text("group_by")
    groups: list[dict[str, Json]] = [{"group": {"by": by}}] if by else []
    if function == "unique":
        return [*groups, *([{"map": f"{{{{ item[{literal(of)}] }}}}"}] if of else []), {"unique": True}]
    return [*groups, {"aggregate": {slug(op.text("as") or field): _figure(function, of, op)}}]


def _figure(function: str, of: str | None, op: Reader) -> dict[str, Json]:
    known = _FUNCTIONS.get(function)
    if known is None:
        op.notes.refuse(op.path("function"), f"unknown function {function!r}", f"Functions: {', '.join(_FUNCTIONS)}.")
    figure: dict[str, Json] = {"function": known or "count"}
    return {**figure, "of": of} if of and known != "count" else figure


def _join(op: Reader, place: Place) -> list[dict[str, Json]]:
    right = op.value("right_source", "right_data", "with")
    path = op.path("right_source", "right_data", "with")
    with_ = place.source(right, path) if isinstance(right, str) else place.tree(right, path)
    left, key = op.text("left_field", "left_key"), op.text("join_key", "right_field", "right_key", "on")
    on = left or key or "id"
    word = op.text("join_type", "how") or "left"
    if word not in _HOW:
        op.notes.refuse(op.path("join_type", "how"), f"unknown kind of join {word!r}", f"Kinds: {', '.join(_HOW)}.")
    op.notes.add(op.at, "a record with several partners comes once for each, and its own fields stay", key="join")
    sides: Json = on if key in (None, left) or left is None else {"left": left, "right": key}
    join = {"with": with_, "on": sides, "how": _HOW.get(word, "left"), "as": op.text("as")}
    return [{"join": {name: value for name, value in join.items() if value is not None}}]
