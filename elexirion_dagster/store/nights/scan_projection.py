"""From the lines of scans to what is known of files and findings: nights that are new are folded, in their order.

Lines that come late for the newest night have it undone and folded again; those for an older one have all nights of
that pipeline and repository folded anew. So the tables do not depend on how the lines arrived.
"""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from elexirion_dagster.records import Json
from elexirion_dagster.store.nights.lives import Known, Night, Row, fold

if TYPE_CHECKING:
    import duckdb

FOLDED = ("files", "lives", "nights")
"""The tables that are written here."""

_KEYS = {"files": "path", "lives": "finding"}
_LONG_AGO = "TIMESTAMP '1970-01-01'"
_ORDER = f"""
WITH said AS (
    SELECT root_run, count(*) AS lines FROM looks GROUP BY ALL
), runs_of AS (
    SELECT pipeline, repo, coalesce(night::VARCHAR, root_run) AS night, coalesce(max(night), 0) AS number, root_run,
        coalesce(min(ts), {_LONG_AGO}) AS started_at, coalesce(max(ts), {_LONG_AGO}) AS finished_at, count(*) AS lines,
        max(tenant) AS tenant
    FROM batches GROUP BY ALL
)
SELECT pipeline, repo, night, max(number) AS number, min(started_at)::VARCHAR AS started_at,
    max(finished_at)::VARCHAR AS finished_at, max(tenant) AS tenant,
    sum(runs_of.lines + coalesce(said.lines, 0))::BIGINT AS lines
FROM runs_of LEFT JOIN said USING (root_run)
GROUP BY ALL ORDER BY pipeline, repo, number, started_at, night
"""  # noqa: S608  a constant of ours
_FOLDED_NIGHTS = "SELECT night, lines FROM nights WHERE pipeline = ? AND repo = ? ORDER BY position"
_FILES = f"""
SELECT path, blob, ruleset, model, prompt_version, "commit", run, root_run, status, reason,
    max(was) OVER (PARTITION BY path) AS was, coalesce(ts, {_LONG_AGO})::VARCHAR AS ts
FROM batch_files
WHERE pipeline = ? AND repo = ? AND coalesce(night::VARCHAR, root_run) = ? AND path <> ''
QUALIFY row_number() OVER (
    PARTITION BY path ORDER BY status = 'renamed', batch_files.ts DESC, status = 'deleted', root_run DESC) = 1
"""  # noqa: S608  a constant of ours
_ROOTS = "SELECT root_run FROM batches WHERE pipeline = ? AND repo = ? AND coalesce(night::VARCHAR, root_run) = ?"
_FINDINGS = f"SELECT * FROM findings WHERE root_run IN ({_ROOTS}) AND fingerprint IS NOT NULL ORDER BY ts"  # noqa: S608  as above
_LOOKS = f"SELECT root_run, tools FROM looks WHERE root_run IN ({_ROOTS})"  # noqa: S608  as above
_UNREAD = f"SELECT DISTINCT root_run, path, tool FROM unread WHERE root_run IN ({_ROOTS})"  # noqa: S608  as above
_MARKS = f"SELECT root_run, path, tool, marks FROM line_marks WHERE root_run IN ({_ROOTS}) AND marks <> '' ORDER BY ts"  # noqa: S608  as above

_Scope = tuple[str, str]


def project(connection: "duckdb.DuckDBPyConnection") -> Iterator[tuple[str, Row]]:
    """Fold what is new; yields tables and the rows to insert, having deleted those that they replace."""
    order = _rows(connection, _ORDER)
    for scope, nights in itertools.groupby(order, key=lambda night: (night["pipeline"], night["repo"])):
        yield from _bring_up(connection, scope, list(nights))


def _bring_up(
    connection: "duckdb.DuckDBPyConnection", scope: _Scope, order: Sequence[Row]
) -> Iterator[tuple[str, Row]]:
    folded = connection.execute(_FOLDED_NIGHTS, scope).fetchall()
    same = itertools.takewhile(
        lambda pair: pair[0] == pair[1], zip(folded, [(one["night"], one["lines"]) for one in order], strict=False)
    )
    first = len(list(same))
    if first == len(order) == len(folded):
        return
    files, lives = Known(), Known()
    if first < len(folded) - 1:
        first = 0
        for table in _KEYS:
            connection.execute(f"DELETE FROM {table} WHERE pipeline = ? AND repo = ?", scope)  # noqa: S608  ours
    else:
        files, lives = _load(connection, "files", scope), _load(connection, "lives", scope)
    if first < len(folded):
        files.undo(first + 1)
        lives.undo(first + 1)
    connection.execute("DELETE FROM nights WHERE pipeline = ? AND repo = ? AND position > ?", [*scope, first])
    for position, facts in enumerate(order[first:], start=first + 1):
        tally = fold(_night(connection, scope, position, facts["night"]), files, lives)
        yield "nights", {**facts, **tally, "position": position}
    tenant = order[-1]["tenant"]
    yield from _save(connection, "files", scope, files, tenant)
    yield from _save(connection, "lives", scope, lives, tenant)


def _load(connection: "duckdb.DuckDBPyConnection", table: str, scope: _Scope) -> Known:
    rows = _rows(connection, f"SELECT * FROM {table} WHERE pipeline = ? AND repo = ?", *scope)  # noqa: S608  ours
    for row in rows:
        row["before"] = json.loads(row["before"]) if row["before"] else None
    return Known({row[_KEYS[table]]: row for row in rows})


def _save(
    connection: "duckdb.DuckDBPyConnection", table: str, scope: _Scope, known: Known, tenant: str | None
) -> Iterator[tuple[str, Row]]:
    """Replace the rows that changed; they are the tenant's whose scan was the last."""
    key = _KEYS[table]
    sql = f"DELETE FROM {table} WHERE pipeline = ? AND repo = ? AND {key} IN (SELECT unnest(?::VARCHAR[]))"  # noqa: S608  ours
    connection.execute(sql, [*scope, sorted(known.changed)])
    for name in sorted(known.changed & known.rows.keys()):
        yield table, {**known.rows[name], "pipeline": scope[0], "repo": scope[1], "tenant": tenant}


def _night(connection: "duckdb.DuckDBPyConnection", scope: _Scope, position: int, name: str) -> Night:
    where = (*scope, name)
    findings: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in _rows(connection, _FINDINGS, *where):
        findings[row["root_run"], row["path"]].append(row)
    tools: dict[str, frozenset[str] | None] = {}
    for root_run, said in connection.execute(_LOOKS, where).fetchall():
        known = tools.get(root_run, frozenset())
        tools[root_run] = None if said is None or known is None else known | frozenset(map(str, json.loads(said)))
    unread = frozenset(connection.execute(_UNREAD, where).fetchall())
    files = {row["path"]: row for row in _rows(connection, _FILES, *where)}
    marks = {(run, path, tool): said for run, path, tool, said in connection.execute(_MARKS, where).fetchall()}
    return Night(scope, position, files, findings, tools, unread, marks)


def _rows(connection: "duckdb.DuckDBPyConnection", sql: str, *params: Json) -> list[Row]:
    """Rows by column name, times as text."""
    answer: Any = connection.execute(sql, params)
    times = [at for at, column in enumerate(answer.description) if column[1] == "TIMESTAMP"]
    names = [column[0] for column in answer.description]
    rows = []
    for values in answer.fetchall():
        row = dict(zip(names, values, strict=True))
        for at in times:
            row[names[at]] = None if values[at] is None else str(values[at])
        if row.get("fix") is not None:
            row["fix"] = json.loads(row["fix"])
        rows.append(row)
    return rows
