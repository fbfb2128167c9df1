"""What an op shows in the Dagster UI."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import dagster as dg

from elexirion_dagster.prompting.shown import SHOWN_CHARS, cut
from elexirion_dagster.records import Json, StepResult
from elexirion_dagster.redact import Redactor

TABLE_ROWS = 100
_CELL_CHARS = 200
_LONG = ("prompt", "reply")
_TABLES = ("tool_calls", "samples")


def described(text: str | None) -> str | None:
    """A description out of a document, without secrets: Dagster stores what jobs are."""
    return text and Redactor().text(text)


def of_result(result: StepResult) -> dict[str, Any]:
    """Status, cost, tokens, duration, items, prompt and reply of a step, as Dagster metadata."""
    shown: dict[str, Any] = {"status": result.status}
    if result.reason:
        shown["skipped_because" if result.status == "skipped" else "reason"] = clean(result.reason)
    if result.error:
        shown |= {"cause": result.error.cause, "error": clean(result.error.message)}
        if result.error.mend:
            shown["how_to_mend"] = clean(result.error.mend)
    shown |= {name: _value(name, value) for name, value in result.metadata.items()}
    if result.cost_usd is not None and result.usage is not None:
        shown["cost_usd"] = float(result.cost_usd)
    if result.usage is not None:
        shown |= {"tokens": result.usage.total_tokens, "tokens_by_kind": dg.MetadataValue.json(asdict(result.usage))}
    if result.duration_s is not None:
        shown["duration_s"] = float(result.duration_s)
    if result.results is not None and "samples" not in result.metadata:
        shown |= _items(result)
    return shown


def of_outputs(outputs: Mapping[str, Json]) -> dict[str, Any]:
    """Outputs as metadata: numbers and short values as they are, lists as their length."""
    return {
        name: len(value) if isinstance(value, list) else _value(name, value)
        for name, value in outputs.items()
        if value is not None
    }


def _value(name: str, value: Json) -> Any:
    match value:
        case None:
            return dg.MetadataValue.null()
        case bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case str():
            return dg.MetadataValue.md(fenced(clean(value))) if name in _LONG else clean(value)
        case [dict(), *_] if name in _TABLES:
            return dg.MetadataValue.table([_row(row) for row in value[:TABLE_ROWS]])
    text = json.dumps(value, ensure_ascii=False, allow_nan=True).encode("utf-8", "replace").decode()
    return dg.MetadataValue.json(json.loads(text, parse_constant=str)) if len(text) <= SHOWN_CHARS else cut(text)


def _row(record: Mapping[str, Json]) -> dg.TableRecord:
    cells = {name: clean(value)[:_CELL_CHARS] if isinstance(value, str) else value for name, value in record.items()}
    return dg.TableRecord(cells)


def clean(text: str) -> str:
    """The beginning of a text in characters that a database takes: what was no UTF-8 shows as an escape."""
    return cut(text).encode("utf-8", "backslashreplace").decode()


def fenced(text: str) -> str:
    """Text as a Markdown code block that the text itself cannot end."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"


def _items(result: StepResult) -> dict[str, Any]:
    """Counts, and the first items (of a loop: turns) as a table."""
    results = result.results or []
    counts: Mapping[str, Json] = result.data or {}
    part, total = ("turn", "iterations") if "iterations" in counts else ("item", "items")
    rows = [
        dg.TableRecord(
            {
                part: clean(str(entry.get("key", entry.get("index"))))[:_CELL_CHARS],
                "status": entry["status"],
                "error": _first_error(entry),
            }
        )
        for entry in results[:TABLE_ROWS]
    ]
    shown: dict[str, Any] = {
        f"{part}s": counts.get(total, len(results)),
        f"{part}s_done": counts.get("succeeded", 0) + counts.get("degraded", 0),
        f"{part}s_failed": counts.get("failed", 0),
        f"{part}s_skipped": counts.get("skipped", 0),
    }
    return {**shown, "results": dg.MetadataValue.table(rows)} if rows else shown


def _first_error(entry: Mapping[str, Json]) -> str:
    errors = (part.get("error") for part in entry.values() if isinstance(part, dict) and "status" in part)
    return next((clean(f"{error['cause']}: {error['message']}")[:_CELL_CHARS] for error in errors if error), "")
