"""Tables and views of what came after failures: recoveries, how long they took, which layer mended what."""

_TABLES = """
ALTER TABLE steps ADD COLUMN attempts BIGINT;
CREATE TABLE recoveries (
    root_run VARCHAR, run VARCHAR, tenant VARCHAR, ts TIMESTAMP, pipeline VARCHAR, cause VARCHAR, message VARCHAR,
    failed_at DOUBLE, action VARCHAR, rule BIGINT, reason VARCHAR, launches JSON, due_at DOUBLE, change JSON,
    document VARCHAR, max_recoveries BIGINT
);
CREATE TABLE adoptions (root_run VARCHAR, run VARCHAR, tenant VARCHAR, ts TIMESTAMP, what VARCHAR, file VARCHAR);
"""
_TIMES = """
CREATE OR REPLACE VIEW recovery_times AS
WITH decided AS (
    FROM recoveries QUALIFY row_number() OVER (PARTITION BY root_run, run ORDER BY ts) = 1
), first_starts AS (
    SELECT root_run, recovery_of AS run, min(ts) AS recovered_at FROM run_starts WHERE recovery_of IS NOT NULL
    GROUP BY ALL
), ends AS (
    SELECT root_run, recovery_of AS run, bool_and(status = 'succeeded') AS succeeded,
        bool_or(status = 'unfinished') AS under_way
    FROM runs WHERE recovery_of IS NOT NULL GROUP BY ALL
)
SELECT d.root_run, d.run, d.tenant, d.pipeline, d.cause, d.action, d.rule, d.reason, d.message, d.launches, d.change,
    make_timestamp((d.failed_at * 1e6)::BIGINT) AS failed_at, d.ts AS decided_at, s.recovered_at,
    round(epoch(s.recovered_at) - d.failed_at, 3) AS time_to_recovery_s,
    {waited} AS waited_s,
    CASE WHEN e.under_way THEN NULL ELSE e.succeeded END AS succeeded, a.ts AS adopted_at, a.file AS adopted_as{more}
FROM decided d LEFT JOIN first_starts s USING (root_run, run) LEFT JOIN ends e USING (root_run, run)
LEFT JOIN (SELECT root_run, run, min(ts) AS ts, min(file) AS file FROM adoptions GROUP BY ALL) a USING (root_run, run);
"""
_WAITED = "round(greatest(coalesce(d.due_at, 0) - epoch(d.ts), 0), 3)"
_CAUSES = """
CREATE VIEW recoveries_by_cause AS
SELECT cause, action, count(*) AS failures, count(recovered_at) AS started, count(*) FILTER (succeeded) AS succeeded,
    quantile_cont(time_to_recovery_s, 0.5) AS p50_s, quantile_cont(time_to_recovery_s, 0.95) AS p95_s,
    max(time_to_recovery_s) AS max_s
FROM recovery_times GROUP BY ALL;
"""
_LAYERS = """
CREATE OR REPLACE VIEW layer_events AS
WITH asked AS (
    SELECT root_run, run, path, occurrence, provider || '/' || model AS model, attempt, status, answered_at, asked_at
    FROM calls
), retried AS (
    SELECT root_run, run, path, max(answered_at) AS at, epoch(max(answered_at) - min(answered_at)) AS seconds,
        bool_or(status = 'replied') AS succeeded
    FROM asked GROUP BY root_run, run, path, occurrence, model HAVING max(attempt) > 1
), failed_over AS (
    SELECT root_run, run, path, max(answered_at) AS at, epoch(max(answered_at) - min(answered_at)) AS seconds,
        bool_or(status = 'replied') AS succeeded
    FROM asked GROUP BY root_run, run, path, occurrence HAVING count(DISTINCT model) > 1
)
SELECT 'call retry' AS layer, * FROM retried
UNION ALL SELECT 'step retry', root_run, run, path, ts, duration_s, status <> 'failed' FROM steps WHERE attempts > 1
UNION ALL SELECT 'failover', * FROM failed_over
UNION ALL SELECT {recovery}, root_run, run, NULL, recovered_at, time_to_recovery_s, succeeded FROM recovery_times
    WHERE json_array_length(launches) > 0
UNION ALL SELECT 'parked', root_run, run, NULL, decided_at, epoch(decided_at - failed_at), false FROM recovery_times
    WHERE json_array_length(launches) = 0;

CREATE OR REPLACE VIEW layers AS
SELECT layer, count(*) AS times, count(*) FILTER (succeeded) AS succeeded, quantile_cont(seconds, 0.5) AS p50_s,
    quantile_cont(seconds, 0.95) AS p95_s, max(seconds) AS max_s
FROM layer_events GROUP BY layer
ORDER BY list_position(['call retry', 'step retry', 'failover', 'recovery', 'wait', 'parked'], layer);
"""
CREATE = _TABLES + _TIMES.format(waited=_WAITED, more="") + _CAUSES + _LAYERS.format(recovery="'recovery'")

_IS_WAIT = "coalesce(json_array_length(awaits), 0) > 0"
WAITS = (
    """
ALTER TABLE recoveries ADD COLUMN awaits JSON;
ALTER TABLE recoveries ADD COLUMN latest_at DOUBLE;
ALTER TABLE recoveries ADD COLUMN max_wait_s DOUBLE;
ALTER TABLE recoveries ADD COLUMN launch VARCHAR;
ALTER TABLE recoveries ADD COLUMN recovery_of VARCHAR;
"""
    + _TIMES.format(
        waited=f"CASE WHEN {_IS_WAIT} THEN round(epoch(s.recovered_at) - epoch(d.ts), 3) ELSE {_WAITED} END",
        more=", d.awaits",
    )
    + _LAYERS.format(recovery=f"CASE WHEN {_IS_WAIT} THEN 'wait' ELSE 'recovery' END")
)
"""Waits for providers: how long they took, NULL while they last, as a layer of their own."""
LINES = ("recoveries", "adoptions")
"""Tables that are filled from journal lines."""
