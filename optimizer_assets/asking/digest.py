"""What defines an optimisation, as one name: the same name continues it, anything else begins another. No dspy."""

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from elexirion_dagster.records import Json
from elexirion_dagster.store.learned.learning import Row
from optimizer_assets.task import Task

FORMAT = 1
"""Raised when the search itself changes: what an earlier program began is then begun anew."""
_LIBRARIES = ("dspy", "gepa")


def root_run_of(task: Task, rows: Sequence[Row], seed: int) -> str:
    """The journal's root run of an optimisation: `optimize-` and 24 hex digits."""
    whole = {
        "format": FORMAT,
        "seed": seed,
        "versions": {name: _version(name) for name in _LIBRARIES},
        "slot": [task.pipeline, task.step, task.base_hash, task.base.system, task.base.examples],
        "spec": task.spec.model_dump(mode="json"),
        "models": [str(model) for model in task.models],
        "teachers": [str(model) for model in task.teachers],
        "settings": task.settings.model_dump(mode="json"),
        "rows": [_row(row) for row in rows],
    }
    return f"optimize-{hashlib.sha256(json.dumps(whole, sort_keys=True, default=dict).encode()).hexdigest()[:24]}"


def _row(row: Row) -> list[Json]:
    return [row.key, row.inputs, row.answer, row.expected, row.score, row.comment, row.group, row.must_pass]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
