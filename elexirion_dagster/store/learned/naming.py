"""Which answers of a model named a finding, so that a word on the finding is one on them."""

import json
import re
from collections.abc import Iterator, Mapping

from elexirion_dagster.records import Json
from elexirion_dagster.store.home import Home

_SIGNS = re.compile(r"[^a-z0-9]+")
_ANSWERS = """
SELECT DISTINCT root_run, pipeline, slot, step_path, data, inputs FROM outcomes
WHERE root_run IN (SELECT root_run FROM findings WHERE list_contains(?::VARCHAR[], fingerprint))
    AND call_status = 'replied' AND status = 'succeeded' AND NOT is_fallback AND data IS NOT NULL
ORDER BY root_run, step_path
"""


def named_by(home: Home, finding: Mapping[str, Json]) -> list[dict[str, Json]]:
    """The answers (about, pipeline, step, path) that say what the finding says, of the same file.

    `finding` is a record of `finding_states`; the tables are asked as the last ingest left them.
    """
    from elexirion_dagster.store import database  # noqa: PLC0415  brings in duckdb: over 100 ms measured

    found: dict[tuple[str, str], dict[str, Json]] = {}
    for root, pipeline, step, path, data, inputs in database.query(home, _ANSWERS, [finding["known_as"]]).rows:
        of_file = _of_file(finding, path, json.loads(inputs or "null"))
        if any(_names(finding, entry, of_file=of_file) for entry in _maps(json.loads(data))):
            found[root, path] = {"about": root, "pipeline": pipeline, "step": step, "path": path}
    return list(found.values())


def _of_file(finding: Mapping[str, Json], path: str, inputs: Json) -> bool:
    """Whether a question was about the finding's file: by its item, or by what it was given."""
    if any(f"[{known}]" in path for known in finding["paths"]):
        return True
    given = [inputs, *_maps(inputs)] if isinstance(inputs, dict) else []
    return any(value in finding["paths"] for one in given for value in one.values() if isinstance(value, str))


def _names(finding: Mapping[str, Json], entry: Mapping[str, Json], *, of_file: bool) -> bool:
    """Whether an entry of an answer is the finding: the same words by the same rule, in the same file."""
    if _folded(entry.get("message")) != _folded(finding["message"]):
        return False
    if "rule" in entry and not _slug(entry["rule"]).startswith(_slug(finding["rule"])):
        return False
    return entry["path"] in finding["paths"] if isinstance(entry.get("path"), str) else of_file


def _folded(text: Json) -> str:
    return " ".join(text.split()) if isinstance(text, str) else ""


def _slug(rule: Json) -> str:
    return _SIGNS.sub("-", str(rule).lower()).strip("-")


def _maps(value: Json) -> Iterator[Mapping[str, Json]]:
    """Every map inside a value, at any depth."""
    todo = [value]
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            yield part
            todo.extend(part.values())
        elif isinstance(part, list):
            todo.extend(part)
