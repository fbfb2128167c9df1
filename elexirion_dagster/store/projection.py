"""From a journal line to the rows it puts into the tables."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from elexirion_dagster.records import Json

Row = Mapping[str, Json]

_MOST_NIGHTS = 10**9
_AS_IT_IS = {
    "run_started": "run_starts",
    "run_finished": "run_ends",
    "outputs": "run_outputs",
    "intent": "intents",
    "recovery": "recoveries",
    "adoption": "adoptions",
}

_SAID = {
    "suppressions": ("repo",),
    "feedback": ("repo", "finding", "verdict"),
    "feedback on an answer": ("about", "pipeline", "step", "step_path"),
    "score": ("pipeline", "step", "path", "name"),
}
"""Fields that must be texts."""


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
            yield from _found(fields)
        case "scanned":
            yield from _scanned(fields)
        case "suppressions" | "feedback" | "score" as kind:
            on_answer = kind == "feedback" and "step_path" in fields
            _texts(fields, *_SAID["feedback on an answer" if on_answer else kind])
            yield "marks" if kind == "score" else kind, fields


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


def _head(fields: Row, *names: str) -> dict[str, Json]:
    return {name: fields.get(name) for name in ("ts", "root_run", "run", "tenant", *names)}


def _texts(fields: Row, *names: str) -> None:
    if not all(isinstance(fields[name], str) for name in names):
        raise TypeError


def _found(fields: Row) -> Iterator[tuple[str, Row]]:
    head = {**_head(fields), "step_path": fields["path"]}
    seen: Counter[tuple[Json, ...]] = Counter()
    for finding in fields["findings"]:
        if not finding.get("fingerprint"):  # written before findings had one, or by a step that gives none
            known = tuple(finding.get(name) for name in ("path", "tool", "rule", "snippet_hash"))
            seen[known] += 1
            text = json.dumps([*known[1:], seen[known]])
            mark = f"f{hashlib.sha256(text.encode()).hexdigest()[:15]}"
            finding = {**finding, "fingerprint": mark}  # noqa: PLW2901  the same finding
        yield "findings", {**finding, **head}
    tools = fields.get("tools")
    yield "looks", {**head, "tools": tools if isinstance(tools, list) else None}
    for file in fields.get("unparsed") or ():
        if isinstance(file, dict):  # whatever it is, the findings beside it count
            yield "unread", {**head, **{name: file.get(name) for name in ("path", "tool", "reason")}}
    marks = fields.get("marks")
    for path, said in marks.items() if isinstance(marks, dict) else ():
        for tool in tools if isinstance(tools, list) else ():
            yield "line_marks", {**head, "path": path, "tool": tool, "marks": said}


def _scanned(fields: Row) -> Iterator[tuple[str, Row]]:
    """One row for the batch, one for each file that it scanned, lost or renamed."""
    _texts(fields, "pipeline", "repo")
    settled = ("pipeline", "repo", "night", "commit", "ruleset", "model", "prompt_version")
    head = _head(fields, *settled)
    if type(head["night"]) is not int or not 0 <= head["night"] < _MOST_NIGHTS:
        head["night"] = None
    was = {new: old for old, new in (fields.get("renamed") or {}).items()}
    yield (
        "batches",
        {**head, "step_path": fields.get("path"), "root": fields.get("root"), "branch": fields.get("branch")},
    )
    for file in fields.get("files") or ():
        place = {name: file.get(name) for name in ("path", "blob", "status", "reason")}
        yield "batch_files", {**head, **place, "was": was.pop(file["path"], None)}
    for new, old in was.items():
        yield "batch_files", {**head, "path": new, "status": "renamed", "was": old}
    for path in fields.get("deleted") or ():
        yield "batch_files", {**head, "path": path, "status": "deleted"}


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
