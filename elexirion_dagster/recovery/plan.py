"""A failed run, and what is done about it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, Self

from elexirion_dagster.errors import Cause
from elexirion_dagster.records import Json

Action = Literal["continue", "change", "run", "split", "wait", "derive", "park"]
"""`continue` goes on as it was; `derive` runs a document derived from the pipeline; the others are the language's."""
KEY_TAG = "dagster/run_key"
"""Dagster's tag for the key by which a run was started."""
RECOVER = "recover"
"""The job that runs derived documents."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A run that failed. `tags` are its own; `at` is the moment as seconds since 1970."""

    run: str
    root_run: str
    pipeline: str
    cause: Cause
    message: str | None
    at: float
    inputs: Mapping[str, Json]
    tags: Mapping[str, str]
    at_work: frozenset[str] | None = None
    """The steps that had begun and not ended well; None where nobody knows."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A run to start; `key` keeps it from being started twice."""

    key: str
    job: str
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done after a failure, and why in words; `rule` is the index among the pipeline's `fallback`.

    `due_at` is the moment from which on the runs are started (seconds since 1970); None: at once. With `awaits`, lists
    of models, they are started once one model of each list takes calls again, and at `latest_at` in any case.
    """

    action: Action
    reason: str
    launches: tuple[Launch, ...] = ()
    rule: int | None = None
    due_at: float | None = None
    change: Mapping[str, Json] | None = None
    document: str | None = None
    """SHA-256 of a derived document."""
    awaits: tuple[tuple[str, ...], ...] = ()
    latest_at: float | None = None

    def to_json(self) -> dict[str, Json]:
        """As it stands in the journal."""
        return {**asdict(self), "launches": [asdict(launch) for launch in self.launches]}

    @classmethod
    def from_json(cls, line: Mapping[str, Json]) -> Self:
        """Read what `to_json` wrote."""
        launches = tuple(Launch(**launch) for launch in line["launches"])
        names = ("action", "reason", "rule", "due_at", "change", "document")
        awaits = tuple(tuple(models) for models in line.get("awaits") or ())  # lines of before have none
        return cls(
            **{name: line[name] for name in names}, launches=launches, awaits=awaits, latest_at=line.get("latest_at")
        )


def as_tag(value: Mapping[str, Json]) -> str:
    """A value as the text of a tag."""
    return json.dumps(value, separators=(",", ":"))
