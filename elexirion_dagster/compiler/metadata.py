"""What an op shows in the Dagster UI."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from elexirion_dagster.records import Json, StepResult

TABLE_ROWS = 100
_LONG = ("prompt", "reply")


def of_result(result: StepResult) -> dict[str, Any]:
    """Status, cost, tokens, duration, items, prompt and reply of a step, as Dagster metadata."""
    shown: dict[str, Any] = {"status": result.status}
    if result.reason:
        shown["skipped_because" if result.status == "skipped" else "reason"] = result.reason
    if result.error:
        shown |= {"cause": result.error.cause, "error": result.error.message}
        if result.error.mend:
            shown["how_to_mend"] = result.error.mend
    if result.cost_usd is not None and result.usage is not None:
        shown["cost_usd"] = float(result.cost_usd)
    if result.usage is not None:
        shown |= {"tokens": result.usage.total_tokens, "output_tokens": result.usage.output_tokens}
    if result.duration_s is not None:
        shown["duration_s"] = float(result.duration_s)
    for name, value in result.metadata.items():
        shown[name] = _value(name, value)
    if result.results is not None:
        shown |= _items(result)
    return shown


def _value(name: str, value: Json) -> Any:
    if name in _LONG and isinstance(value, str):
        return dg.MetadataValue.md(fenced(value))
    if isinstance(value, dict | list):
        return dg.MetadataValue.json(value)
    return dg.MetadataValue.null() if value is None else value


def fenced(text: str) -> str:
    """Text as a Markdown code block that the text itself cannot end."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"


def _items(result: StepResult) -> dict[str, Any]:
    """Counts, and the first items as a table."""
    results = result.results or []
    counts: Mapping[str, Json] = result.data or {}
    rows = [
        dg.TableRecord({"item": str(entry["key"]), "status": entry["status"], "error": _first_error(entry)})
        for entry in results[:TABLE_ROWS]
    ]
    shown: dict[str, Any] = {
        "items": counts.get("items", len(results)),
        "items_done": counts.get("succeeded", 0) + counts.get("degraded", 0),
        "items_failed": counts.get("failed", 0),
        "items_skipped": counts.get("skipped", 0),
    }
    return {**shown, "results": dg.MetadataValue.table(rows)} if rows else shown


def _first_error(entry: Mapping[str, Json]) -> str:
    errors = (part.get("error") for part in entry.values() if isinstance(part, dict) and "status" in part)
    return next((f"{error['cause']}: {error['message']}"[:200] for error in errors if error), "")
