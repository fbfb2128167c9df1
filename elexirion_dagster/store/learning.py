"""What is learned from: rows of each slot, out of the tables that project the journal."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from elexirion_dagster.records import Json
from elexirion_dagster.store.home import Home


@dataclass(frozen=True, slots=True)
class Row:
    """One thing a slot was asked, or could be; what is not known is None.

    `inputs` are by the dotted path that the template refers to (`inputs.message`, `file.text`). `answer` is what a run
    answered (typed data, else text), `expected` what would have been right: a label, a person's correction, or the
    answer itself where people or expressions gave it 0.99 or more. `score` is the mean of its scores, 0 to 1.
    Rows of one `group` (a source file, else equal inputs) never stand on both sides of a split.
    """

    key: str
    inputs: Mapping[str, Json]
    answer: Json | None
    expected: Json | None
    score: float | None
    comment: str | None
    source: Literal["run", "feedback", "label"]
    group: str
    must_pass: bool = False
    model: str | None = None
    prompt_version: str | None = None
    cost_usd: float | None = None
    latency_s: float | None = None


@dataclass(frozen=True, slots=True)
class Logged:
    """A reply that was paid for, to be used again; `model` is `provider/model`."""

    text: str
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    latency_s: float
    model: str


@dataclass(frozen=True, slots=True)
class Summary:
    """How a slot does. `statuses` counts what its step came to by status, `failed` included.

    `success` is the share that is good: succeeded, and scored 0.5 or more where it was scored; None without any.
    `rows` counts the usable rows, `new_rows` those since the time asked, `newest` is the newest one's time (ISO).
    """

    statuses: Mapping[str, int]
    success: float | None
    scored: int
    rows: int
    new_rows: int
    newest: str | None


def rows(home: Home, pipeline: str, step: str) -> tuple[Row, ...]:
    """The rows of a slot, the newest of equal inputs, in the order of time; the journal's news are loaded first.

    Degraded, failed, skipped and unparsed answers are never among them, nor fallback replies.
    """
    raise NotImplementedError


def replies(home: Home, pipeline: str, step: str) -> Mapping[str, Logged]:
    """The whole replies of a slot by request hash, the first where a question was asked again."""
    raise NotImplementedError


def summary(home: Home, pipeline: str, step: str, *, since: str | None = None) -> Summary:
    """How a slot does; `since` is an ISO time."""
    raise NotImplementedError
