"""An output schema as a sentence of the system text, for models that do not take it natively."""

import json
from collections.abc import Mapping

from elexirion_dagster.records import Json

_SENTENCE = "Answer with exactly one JSON value that fits this JSON Schema, and with nothing else:"


def with_schema(system: str | None, schema: Mapping[str, Json]) -> str:
    """Put the schema at the end of the system text."""
    text = json.dumps(schema, sort_keys=True, separators=(",", ":"), default=dict)
    return f"{system or ''}\n\n{_SENTENCE}\n{text}".strip()
