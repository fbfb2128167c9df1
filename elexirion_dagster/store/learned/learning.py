"""What is learned from: rows of each slot, out of the tables that project the journal."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from elexirion_dagster.records import Json
from elexirion_dagster.store.home import Home

_GOOD = 0.5
_TIME = "%Y-%m-%dT%H:%M:%S.%f"
_TS = f"strftime(ts, '{_TIME}') AS ts"
_AS_IT_IS = ("score", "comment", "source", "model", "prompt_version", "cost_usd", "latency_s")
_ITEM = re.compile(r"\[([^\[\]]*)\]\.")
_FILE = re.compile(r"^[^\s]*[\w)]\.[A-Za-z0-9_]{1,10}$")
_ROWS = f"""
SELECT path, {_TS}, inputs, answer, expected, {", ".join(_AS_IT_IS)} FROM examples
WHERE pipeline = ? AND step = ? ORDER BY ts, root_run, path
"""  # noqa: S608  names of ours
_REPLIES = """
SELECT request_hash, text, input_tokens + cache_read_tokens + cache_write_tokens AS input_tokens, output_tokens,
    cost_usd, latency_s, provider || '/' || model AS model
FROM outcomes
WHERE pipeline = ? AND slot = ? AND call_status = 'replied' AND NOT is_fallback AND request_hash IS NOT NULL
    AND stop_reason IN ('end_turn', 'stop_sequence')
ORDER BY ts, call_id
"""
_SUMMARY = """
WITH answers AS (
    SELECT DISTINCT root_run, step_path AS path, status FROM outcomes WHERE pipeline = ? AND slot = ?
), judged AS (
    SELECT root_run, path, avg(value) AS score FROM scores WHERE source <> 'schema' GROUP BY ALL
)
SELECT status, score FROM answers LEFT JOIN judged USING (root_run, path)
"""


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
    """The rows of a slot in the order of time; the journal's news are loaded first.

    Of equal inputs the one that people spoke of counts, else one that was scored, else the newest. Degraded, failed,
    skipped and unparsed answers are never among them, nor fallback replies, nor what was too large to be recorded.
    """
    best: dict[str, tuple[tuple[bool, bool, str], Row]] = {}
    for record in _asked(home, _ROWS, pipeline, step):
        row = _row(pipeline, step, record)
        if row is None:
            continue
        rank = (row.source == "feedback", row.score is not None, record["ts"])
        if row.key not in best or rank >= best[row.key][0]:
            best[row.key] = (rank, row)
    return tuple(row for _, row in sorted(best.values(), key=lambda found: (found[0][2], found[1].key)))


def replies(home: Home, pipeline: str, step: str) -> Mapping[str, Logged]:
    """The whole replies of a slot by request hash, the first where a question was asked again; news loaded first."""
    found: dict[str, Logged] = {}
    for record in _asked(home, _REPLIES, pipeline, step):
        found.setdefault(record.pop("request_hash"), Logged(**record))
    return found


def summary(home: Home, pipeline: str, step: str, *, since: str | None = None) -> Summary:
    """How a slot does; `since` is an ISO time (UTC where it says nothing). The journal's news are loaded first."""
    found = _asked(home, _SUMMARY, pipeline, step)
    judged = [one for one in found if one["status"] in ("succeeded", "degraded", "failed")]
    good = [one for one in judged if one["status"] == "succeeded" and (one["score"] is None or one["score"] >= _GOOD)]
    usable = sorted(one["ts"] for one in _asked(home, _ROWS, pipeline, step) if _row(pipeline, step, one))
    begin = "" if since is None else _utc(since)
    return Summary(
        statuses=Counter(one["status"] or "unfinished" for one in found),
        success=len(good) / len(judged) if judged else None,
        scored=sum(one["score"] is not None for one in found),
        rows=len(usable),
        new_rows=sum(at > begin for at in usable),
        newest=usable[-1] if usable else None,
    )


def row_key(pipeline: str, step: str, inputs: Mapping[str, Json]) -> str:
    """What equal questions to one slot have in common (16 hex digits)."""
    text = json.dumps([pipeline, step, dict(inputs)], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def group_of(key: str, inputs: Mapping[str, Json], path: str = "") -> str:
    """The source file that a question is about, else what equal questions have in common."""
    for name, value in sorted(inputs.items()):
        if isinstance(value, str) and name.rpartition(".")[2] == "path":
            return value
        if isinstance(value, Mapping) and isinstance(value.get("path"), str):
            return str(value["path"])
    items = [item for item in _ITEM.findall(path) if _FILE.search(item)]
    return items[-1] if items else key


def _row(pipeline: str, step: str, record: Mapping[str, Json]) -> Row | None:
    """A record as a row; None where its question cannot be asked again."""
    inputs = json.loads(record["inputs"] or "null")
    if not isinstance(inputs, dict) or any(
        isinstance(one, dict) and one.keys() == {"omitted"} for one in inputs.values()
    ):
        return None
    key = row_key(pipeline, step, inputs)
    return Row(
        key=key,
        inputs=inputs,
        answer=json.loads(record["answer"] or "null"),
        expected=json.loads(record["expected"] or "null"),
        group=group_of(key, inputs, record["path"]),
        **{name: record[name] for name in _AS_IT_IS},
    )


def _asked(home: Home, sql: str, pipeline: str, step: str) -> list[dict[str, Json]]:
    """The records of a query about a slot, times as ISO text."""
    from elexirion_dagster.store import database  # noqa: PLC0415  brings in duckdb: over 100 ms measured

    database.ingest(home)
    found = database.query(home, sql, [pipeline, step])
    return [dict(zip(found.columns, values, strict=True)) for values in found.rows]


def _utc(time: str) -> str:
    """A time in the form that the tables give."""
    at = datetime.fromisoformat(time)
    return (at.astimezone(UTC) if at.tzinfo else at).strftime(_TIME)
