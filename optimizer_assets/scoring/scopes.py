"""A row's values as templates see them."""

from collections.abc import Mapping
from typing import Any

from elexirion_dagster.records import Json


def nested(inputs: Mapping[str, Json]) -> dict[str, Any]:
    """Values by dotted path as maps in maps: `{"file.text": "…"}` becomes `{"file": {"text": "…"}}`."""
    scope: dict[str, Any] = {}
    for path in sorted(inputs, key=lambda path: path.count(".")):
        *outer, last = path.split(".")
        place: Any = scope
        for name in outer:
            place = place.setdefault(name, {}) if isinstance(place, dict) else None
        if isinstance(place, dict):
            value = inputs[path]
            place.setdefault(last, dict(value) if isinstance(value, Mapping) else value)
    return scope


def scope_of(inputs: Mapping[str, Json], *, answer: Json, expected: Json) -> dict[str, Any]:
    """What a metric's template may refer to: `answer`, `expected`, and `inputs` with all that the prompt referred to.

    What the prompt calls `inputs.message` keeps that name; what it calls `file.text` is `inputs.file.text` here.
    """
    scope = nested(inputs)
    own = scope.pop("inputs", {})
    return {"inputs": {**scope, **(own if isinstance(own, dict) else {})}, "answer": answer, "expected": expected}
