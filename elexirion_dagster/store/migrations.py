"""The tables and views of the outcomes database, as a list of functions that is only ever added to.

Tables are append-only: one row per journal line (findings: one per finding). What joins lines is a view, so that it
does not matter in how many portions or in which order the lines came. A migration that needs old lines again
empties the tables and `_files`: the next ingest then reads the whole journal.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from elexirion_dagster.store.failures import recovery_tables
from elexirion_dagster.store.learned import learning_tables
from elexirion_dagster.store.nights import scan_tables

if TYPE_CHECKING:
    import duckdb

_TABLES = """
CREATE TABLE _files (file VARCHAR, next_byte BIGINT);
CREATE TABLE run_starts (
    root_run VARCHAR, run VARCHAR, tenant VARCHAR, ts TIMESTAMP, pipeline VARCHAR, pipeline_hash VARCHAR,
    description VARCHAR, inputs JSON, trigger VARCHAR, recovery_of VARCHAR, tags JSON
);
CREATE TABLE run_ends (
    root_run VARCHAR, run VARCHAR, tenant VARCHAR, ts TIMESTAMP, status VARCHAR, cause VARCHAR, message VARCHAR,
    duration_s DOUBLE, cost_usd DOUBLE
);
CREATE TABLE run_outputs (root_run VARCHAR, run VARCHAR, tenant VARCHAR, ts TIMESTAMP, outputs JSON);
CREATE TABLE intents (
    root_run VARCHAR, run VARCHAR, tenant VARCHAR, ts TIMESTAMP, call_id VARCHAR, path VARCHAR, request_hash VARCHAR,
    occurrence BIGINT, attempt BIGINT, provider VARCHAR, model VARCHAR, max_usd DOUBLE, max_tokens BIGINT
);
CREATE TABLE answers (
    root_run VARCHAR, run VARCHAR, tenant VARCHAR, ts TIMESTAMP, call_id VARCHAR, path VARCHAR, request_hash VARCHAR,
    occurrence BIGINT, attempt BIGINT, provider VARCHAR, model VARCHAR, status VARCHAR, text VARCHAR,
    stop_reason VARCHAR, request_id VARCHAR, prompt JSON, inputs JSON, prompt_version VARCHAR, cause VARCHAR,
    message VARCHAR, http_status BIGINT, billed BOOLEAN, cost_usd DOUBLE, input_tokens BIGINT, output_tokens BIGINT,
    cache_read_tokens BIGINT, cache_write_tokens BIGINT, latency_s DOUBLE
);
CREATE TABLE steps (
    root_run VARCHAR, run VARCHAR, tenant VARCHAR, ts TIMESTAMP, path VARCHAR, step VARCHAR, step_type VARCHAR,
    status VARCHAR, input_hash VARCHAR, data JSON, text VARCHAR, cause VARCHAR, message VARCHAR, reason VARCHAR,
    started_at TIMESTAMP, duration_s DOUBLE, cost_usd DOUBLE
);
CREATE TABLE findings (
    root_run VARCHAR, run VARCHAR, tenant VARCHAR, ts TIMESTAMP, step_path VARCHAR, tool VARCHAR, rule VARCHAR,
    severity VARCHAR, confidence VARCHAR, path VARCHAR, line BIGINT, "column" BIGINT, end_line BIGINT,
    end_column BIGINT, message VARCHAR, snippet VARCHAR, snippet_hash VARCHAR, url VARCHAR
);
"""

_RUNS = """
CREATE VIEW runs AS
WITH starts AS (
    FROM run_starts QUALIFY row_number() OVER (PARTITION BY root_run, run ORDER BY ts) = 1
), ends AS (
    FROM run_ends QUALIFY row_number() OVER (PARTITION BY root_run, run ORDER BY ts DESC) = 1
), results AS (
    FROM run_outputs QUALIFY row_number() OVER (PARTITION BY root_run, run ORDER BY ts DESC) = 1
)
SELECT root_run, run, coalesce(starts.tenant, ends.tenant) AS tenant, pipeline, pipeline_hash, description, inputs,
    trigger, recovery_of, tags, starts.ts AS started_at, ends.ts AS finished_at,
    coalesce(ends.status, 'unfinished') AS status, cause, message, duration_s, cost_usd, outputs
FROM starts FULL JOIN ends USING (root_run, run) LEFT JOIN results USING (root_run, run);
"""

_CALLS = """
CREATE VIEW calls AS
SELECT root_run, run, call_id, coalesce(a.tenant, i.tenant) AS tenant, coalesce(a.path, i.path) AS path,
    coalesce(a.request_hash, i.request_hash) AS request_hash, coalesce(a.occurrence, i.occurrence) AS occurrence,
    coalesce(a.attempt, i.attempt) AS attempt, coalesce(a.provider, i.provider) AS provider,
    coalesce(a.model, i.model) AS model, coalesce(a.status, 'possibly_paid') AS status, i.ts AS asked_at,
    a.ts AS answered_at, max_usd, max_tokens, text, stop_reason, request_id, prompt, inputs, prompt_version, cause,
    message, http_status, billed, cost_usd, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens,
    latency_s
FROM intents i FULL JOIN answers a USING (root_run, run, call_id);
"""

_OUTCOMES = """
CREATE VIEW outcomes AS
WITH results AS (
    FROM steps QUALIFY row_number() OVER (PARTITION BY root_run, path ORDER BY ts DESC) = 1
)
SELECT runs.pipeline, c.root_run, c.run, c.tenant, c.path, results.step, c.call_id, c.occurrence, c.attempt,
    coalesce(c.answered_at, c.asked_at) AS ts, c.provider, c.model, c.prompt_version, c.inputs, c.prompt, c.text,
    results.data, results.status, c.status AS call_status,
    c.status = 'replied' AND row_number() OVER (
        PARTITION BY c.root_run, c.path, c.status ORDER BY c.answered_at DESC, c.call_id) = 1 AS is_last,
    coalesce(c.cause, results.cause) AS cause, coalesce(c.message, results.message) AS message, c.cost_usd,
    c.input_tokens, c.output_tokens, c.cache_read_tokens, c.cache_write_tokens, c.latency_s
FROM calls c LEFT JOIN runs USING (root_run, run)
LEFT JOIN results ON results.root_run = c.root_run AND results.path = c.path;
"""

_SUMMARIES = """
CREATE VIEW possibly_paid AS
SELECT runs.pipeline, c.root_run, c.run, c.tenant, c.path, c.call_id, c.attempt, c.provider, c.model, c.asked_at,
    c.max_usd, c.max_tokens, runs.status AS run_status
FROM calls c LEFT JOIN runs USING (root_run, run) WHERE c.status = 'possibly_paid';

CREATE VIEW run_costs AS
WITH sums AS (
    SELECT root_run, run, count(*) AS calls, count(*) FILTER (status = 'replied') AS replied,
        count(*) FILTER (status = 'failed') AS failed, count(*) FILTER (status = 'possibly_paid') AS possibly_paid,
        sum(cost_usd) AS cost_usd, sum(max_usd) FILTER (status = 'possibly_paid') AS possibly_usd,
        count(*) FILTER (status = 'replied' AND cost_usd IS NULL) AS unpriced, sum(input_tokens) AS input_tokens,
        sum(output_tokens) AS output_tokens, sum(cache_read_tokens) AS cache_read_tokens,
        sum(cache_write_tokens) AS cache_write_tokens
    FROM calls GROUP BY ALL
)
SELECT runs.pipeline, root_run, run, runs.tenant, runs.started_at, runs.status, sums.* EXCLUDE (root_run, run)
FROM runs JOIN sums USING (root_run, run);

CREATE VIEW failures_by_cause AS
WITH failures AS (
    SELECT 'call' AS what, root_run, run, cause, message, answered_at AS ts FROM calls WHERE status = 'failed'
    UNION ALL SELECT 'step', root_run, run, cause, message, ts FROM steps WHERE status = 'failed'
    UNION ALL SELECT 'run', root_run, run, cause, message, finished_at FROM runs WHERE status = 'failed'
)
SELECT runs.pipeline, what, failures.cause, count(*) AS failures, max(failures.ts) AS last_at,
    arg_max(failures.message, failures.ts) AS last_message
FROM failures LEFT JOIN runs USING (root_run, run) GROUP BY ALL;
"""

_TENANT_OF_RUN = """
UPDATE {table} SET tenant = known.tenant FROM (
    SELECT root_run, run, any_value(tenant) AS tenant FROM run_starts WHERE tenant IS NOT NULL GROUP BY ALL
) AS known
WHERE {table}.tenant IS NULL AND {table}.root_run = known.root_run AND {table}.run = known.run
"""
_TENANT_OF_SCANS = """
UPDATE {table} SET tenant = known.tenant FROM (
    SELECT pipeline, repo, arg_max(tenant, ts) AS tenant FROM batches WHERE tenant IS NOT NULL GROUP BY ALL
) AS known
WHERE {table}.pipeline = known.pipeline AND {table}.repo = known.repo
"""

_FIRST = ("_files", "run_starts", "run_ends", "run_outputs", "intents", "answers", "steps", "findings")
TABLES = (*_FIRST, *scan_tables.LINES, *recovery_tables.LINES, *learning_tables.LINES)
"""What ingest fills from lines."""


def m001_tables(connection: "duckdb.DuckDBPyConnection") -> None:
    """Create one table per kind of line."""
    connection.execute(_TABLES)


def m002_views(connection: "duckdb.DuckDBPyConnection") -> None:
    """Join the lines into what people ask about."""
    connection.execute(_RUNS + _CALLS + _OUTCOMES + _SUMMARIES)


def m003_scans(connection: "duckdb.DuckDBPyConnection") -> None:
    """Follow files and findings from night to night; the whole journal is read again."""
    connection.execute("".join(f"DELETE FROM {table};" for table in _FIRST) + scan_tables.CREATE)  # noqa: S608  table names are ours


def m004_recoveries(connection: "duckdb.DuckDBPyConnection") -> None:
    """Follow what came after failures."""
    connection.execute(recovery_tables.CREATE)


def m005_learning(connection: "duckdb.DuckDBPyConnection") -> None:
    """Say whose slot a call was, and what was thought of the answer."""
    connection.execute(learning_tables.CREATE)


def m006_nights(connection: "duckdb.DuckDBPyConnection") -> None:
    """Know which lines a reviewer had before it, and count the scans of a repository without gaps."""
    connection.execute(scan_tables.MARKS + scan_tables.SCANS)


def m007_tenants(connection: "duckdb.DuckDBPyConnection") -> None:
    """Say on every row whose run it was: lines of before said so of the run alone."""
    connection.execute(scan_tables.TENANTS)
    for table in TABLES:
        if table not in ("_files", "run_starts"):
            connection.execute(_TENANT_OF_RUN.format(table=table))
    for table in ("files", "lives", "nights"):
        connection.execute(_TENANT_OF_SCANS.format(table=table))


def m008_waits(connection: "duckdb.DuckDBPyConnection") -> None:
    """Know which recoveries wait for a provider."""
    connection.execute(recovery_tables.WAITS)


MIGRATIONS: tuple[Callable[["duckdb.DuckDBPyConnection"], None], ...] = (
    m001_tables,
    m002_views,
    m003_scans,
    m004_recoveries,
    m005_learning,
    m006_nights,
    m007_tenants,
    m008_waits,
)


def applied(connection: "duckdb.DuckDBPyConnection") -> list[str]:
    """Names of the migrations that a database has seen. Raises duckdb.Error if it has no list of them."""
    return [name for (name,) in connection.execute("SELECT name FROM _migrations").fetchall()]


def migrate(connection: "duckdb.DuckDBPyConnection") -> None:
    """Bring a database, also an empty one, up to date."""
    connection.execute("CREATE TABLE IF NOT EXISTS _migrations (name VARCHAR, applied_at TIMESTAMP)")
    done = applied(connection)
    for migration in MIGRATIONS:
        if migration.__name__ not in done:
            connection.execute("BEGIN")
            migration(connection)
            connection.execute(
                "INSERT INTO _migrations VALUES (?, current_timestamp AT TIME ZONE 'UTC')", [migration.__name__]
            )
            connection.execute("COMMIT")
