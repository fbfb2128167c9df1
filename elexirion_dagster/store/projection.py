"""From a journal line to the rows it puts into the tables."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping

from elexirion_dagster.records import Json

Row = Mapping[str, Json]

_AS_IT_IS = {
    "run_started": "run_starts",
    "run_finished": "run_ends",
    "outputs": "run_outputs",
    "intent": "intents",
    "recovery": "recoveries",
    "adoption": "adoptions",
}


def rows(fields: Mapping[str, Json]) -> Iterator[tuple[str, Row]]:
    """Yield table names and rows; a row may hold more than the table's columns.

    Raises KeyError, TypeError, ValueError or AttributeError on a line that is not what its kind demands.
    """
    if not all(isinstance(fields[name], str) for name in ("kind", "root_run", "run")):
        raise TypeError
    match fields["kind"]:
        case "run_started" | "run_finished" | "outputs" | "intent" | "recovery" | "adoption" as kind:
            yield _AS_IT_IS[kind], fields
        case "reply":
            yield "answers", _replied(fields, fields["reply"])
        case "call_failed":
            usage = fields.get("usage") or {}
            yield "answers", {**fields, **usage, "status": "failed", "http_status": fields.get("status")}
        case "step":
            yield "steps", _step(fields, fields["result"])
        case "findings":
            head = {name: fields.get(name) for name in ("ts", "root_run", "run", "tenant")}
            for finding in fields["findings"]:
                yield "findings", {**finding, **head, "step_path": fields["path"]}


def _replied(fields: Row, reply: Row) -> Row:
    text = "".join(block["text"] for block in reply["blocks"] if block["type"] == "text")
    cost = fields.get("cost_usd")
    return {
        **fields,
        **reply["usage"],
        "status": "replied",
        "text": text,
        "stop_reason": reply["stop_reason"],
        "request_id": reply.get("request_id"),
        "latency_s": reply["latency_s"],
        "cost_usd": reply.get("cost_usd") if cost is None else cost,
        "billed": True,
    }


def _step(fields: Row, result: Row) -> Row:
    error = result.get("error") or {}
    return {
        **fields,
        "data": result.get("data"),
        "text": result.get("text"),
        "reason": result.get("reason"),
        "cost_usd": result.get("cost_usd"),
        "cause": error.get("cause"),
        "message": error.get("message"),
    }


def encode(row: Row, columns: Iterable[str]) -> bytes:
    """Write these columns as one line of strict JSON: no NaN, no lone surrogates."""
    picked = {name: row.get(name) for name in columns}
    try:
        return json.dumps(picked, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except ValueError:
        return json.dumps(_strict(picked), ensure_ascii=False).encode() + b"\n"


def _strict(value: Json) -> Json:
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {_strict(key): _strict(each) for key, each in value.items()}
        case list():
            return [_strict(each) for each in value]
    return value
