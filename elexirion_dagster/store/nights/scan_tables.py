"""The tables of scans: lines as they came, what folding them night by night makes of them, and views for readers."""

_LINES = """
ALTER TABLE findings ADD COLUMN fix JSON;
ALTER TABLE findings ADD COLUMN symbol VARCHAR;
ALTER TABLE findings ADD COLUMN fingerprint VARCHAR;
CREATE TABLE looks (root_run VARCHAR, run VARCHAR, tenant VARCHAR, ts TIMESTAMP, step_path VARCHAR, tools JSON);
CREATE TABLE unread (
    root_run VARCHAR, run VARCHAR, tenant VARCHAR, ts TIMESTAMP, step_path VARCHAR, path VARCHAR, tool VARCHAR,
    reason VARCHAR
);
CREATE TABLE batches (
    root_run VARCHAR, run VARCHAR, tenant VARCHAR, ts TIMESTAMP, step_path VARCHAR, pipeline VARCHAR, repo VARCHAR,
    night BIGINT, root VARCHAR, "commit" VARCHAR, branch VARCHAR, ruleset VARCHAR, model VARCHAR, prompt_version VARCHAR
);
CREATE TABLE batch_files (
    root_run VARCHAR, run VARCHAR, ts TIMESTAMP, pipeline VARCHAR, repo VARCHAR, night BIGINT, "commit" VARCHAR,
    ruleset VARCHAR, model VARCHAR, prompt_version VARCHAR, path VARCHAR, blob VARCHAR, status VARCHAR, reason VARCHAR,
    was VARCHAR
);
CREATE TABLE suppressions (
    root_run VARCHAR, run VARCHAR, tenant VARCHAR, ts TIMESTAMP, pipeline VARCHAR, repo VARCHAR, "commit" VARCHAR,
    entries JSON
);
CREATE TABLE feedback (
    root_run VARCHAR, run VARCHAR, tenant VARCHAR, ts TIMESTAMP, finding VARCHAR, pipeline VARCHAR, repo VARCHAR,
    fingerprint VARCHAR, path VARCHAR, tool VARCHAR, rule VARCHAR, verdict VARCHAR, reason VARCHAR, owner VARCHAR,
    expires DATE, comment VARCHAR
);
"""

_FOLDED = """
CREATE TABLE files (
    pipeline VARCHAR, repo VARCHAR, path VARCHAR, blob VARCHAR, ruleset VARCHAR, model VARCHAR, prompt_version VARCHAR,
    "commit" VARCHAR, scanned_at TIMESTAMP, run VARCHAR, status VARCHAR, reason VARCHAR, touched BIGINT, before JSON
);
CREATE TABLE lives (
    finding VARCHAR, pipeline VARCHAR, repo VARCHAR, fingerprint VARCHAR, known_as VARCHAR[], path VARCHAR,
    paths VARCHAR[], line BIGINT, "column" BIGINT, end_line BIGINT, end_column BIGINT, tool VARCHAR, rule VARCHAR,
    severity VARCHAR, confidence VARCHAR, message VARCHAR, snippet VARCHAR, snippet_hash VARCHAR, symbol VARCHAR,
    url VARCHAR, fix JSON, first_seen TIMESTAMP, first_night BIGINT, last_seen TIMESTAMP, last_night BIGINT,
    nights BIGINT, reopened_night BIGINT, fixed_at TIMESTAMP, fixed_night BIGINT, excluded VARCHAR, touched BIGINT,
    before JSON
);
CREATE TABLE nights (
    pipeline VARCHAR, repo VARCHAR, position BIGINT, night VARCHAR, number BIGINT, started_at TIMESTAMP,
    finished_at TIMESTAMP, scanned BIGINT, failed BIGINT, excluded BIGINT, deleted BIGINT,
    lines BIGINT, findings BIGINT, "new" BIGINT, reopened BIGINT, fixed BIGINT, critical BIGINT, high BIGINT,
    medium BIGINT, low BIGINT, info BIGINT
);
"""

_STATES = """
CREATE OR REPLACE VIEW finding_states AS
WITH newest AS (
    SELECT pipeline, repo, max(position) AS position FROM nights GROUP BY ALL
), said AS (
    FROM feedback QUALIFY row_number() OVER (PARTITION BY finding ORDER BY ts DESC, root_run DESC) = 1
), written AS (
    FROM suppressions QUALIFY row_number() OVER (PARTITION BY pipeline, repo ORDER BY ts DESC, root_run DESC) = 1
), entries AS (
    SELECT pipeline, repo, entry->>'fingerprint' AS fingerprint, entry->>'path' AS path, entry->>'reason' AS reason,
        entry->>'owner' AS owner, TRY_CAST(entry->>'expires' AS DATE) AS expires
    FROM (SELECT pipeline, repo, unnest(from_json(entries, '["JSON"]')) AS entry FROM written)
), covered AS (
    SELECT lives.finding, entries.* EXCLUDE (pipeline, repo, fingerprint, path)
    FROM entries JOIN lives ON lives.pipeline = entries.pipeline AND lives.repo = entries.repo
        AND list_contains(lives.known_as, entries.fingerprint)
        AND (entries.path IS NULL OR list_contains(lives.paths, entries.path))
    WHERE lives.fixed_night IS NULL
    QUALIFY row_number() OVER (
        PARTITION BY entries.pipeline, entries.repo, entries.fingerprint, entries.path
        ORDER BY lives.path = entries.path DESC, lives.first_night, lives.path, lives.finding) = 1
), today AS (
    SELECT (current_timestamp AT TIME ZONE 'UTC')::DATE AS day
), judged AS (
    SELECT lives.*, newest.position, said.verdict, said.comment, CASE
        WHEN said.verdict = 'rejected' THEN struct_pack(by := 'command', reason := coalesce(said.comment, 'rejected'),
            owner := said.owner, expires := said.expires)
        WHEN said.verdict = 'suppressed' AND (said.expires IS NULL OR said.expires >= day) THEN struct_pack(
            by := 'command', reason := said.reason, owner := said.owner, expires := said.expires)
        WHEN covered.finding IS NOT NULL AND (covered.expires IS NULL OR covered.expires >= day) THEN struct_pack(
            by := 'file', reason := covered.reason, owner := covered.owner, expires := covered.expires)
        WHEN lives.excluded IS NOT NULL THEN struct_pack(
            by := 'exclusion', reason := lives.excluded, owner := NULL::VARCHAR, expires := NULL::DATE)
        END AS hidden
    FROM lives JOIN newest USING (pipeline, repo) LEFT JOIN said USING (finding)
        LEFT JOIN covered USING (finding) CROSS JOIN today
)
SELECT finding, fingerprint, pipeline, repo, path, line, "column", end_line, end_column, rule, tool, severity,
    confidence, message, snippet, snippet_hash, symbol, url, fix, CASE
        WHEN fixed_night IS NOT NULL THEN 'fixed' WHEN hidden IS NOT NULL THEN 'suppressed'
        WHEN reopened_night = position THEN 'reopened' WHEN first_night = position THEN 'new'
        ELSE 'open' END AS state,
    first_seen, last_seen, fixed_at, nights, fixed_night = position AS fixed_tonight, first_night = position AS is_new,
    verdict, comment, hidden.by AS suppressed_by, hidden.owner AS owner, hidden.reason AS reason,
    hidden.expires AS expires, known_as, paths{tenant}
FROM judged;
"""

SCANS = """
CREATE OR REPLACE VIEW scans AS
WITH runs_of AS (
    SELECT DISTINCT pipeline, repo, coalesce(night::VARCHAR, root_run) AS night, root_run FROM batches
), spent AS (
    SELECT runs_of.pipeline, repo, night, sum(calls)::BIGINT AS calls, sum(cost_usd) AS cost_usd,
        sum(unpriced)::BIGINT AS unpriced
    FROM runs_of JOIN run_costs USING (root_run) GROUP BY ALL
), took AS (
    SELECT runs_of.pipeline, repo, night, sum(duration_s) AS seconds
    FROM runs_of JOIN runs USING (root_run) GROUP BY ALL
), heads AS (
    SELECT pipeline, repo, coalesce(night::VARCHAR, root_run) AS night, arg_max(root, ts) AS root,
        arg_max("commit", ts) AS "commit", arg_max(branch, ts) AS branch, arg_max(model, ts) AS model,
        arg_max(ruleset, ts) AS ruleset
    FROM batches GROUP BY ALL
)
SELECT nights.* REPLACE (position AS number), root, "commit", branch, model, ruleset, coalesce(calls, 0) AS calls,
    cost_usd, unpriced, seconds
FROM nights LEFT JOIN heads USING (pipeline, repo, night) LEFT JOIN spent USING (pipeline, repo, night)
LEFT JOIN took USING (pipeline, repo, night);
"""

MARKS = """
CREATE TABLE line_marks (
    root_run VARCHAR, run VARCHAR, tenant VARCHAR, ts TIMESTAMP, step_path VARCHAR, path VARCHAR, tool VARCHAR,
    marks VARCHAR
);
"""

TENANTS = (
    "".join(f"ALTER TABLE {table} ADD COLUMN tenant VARCHAR;" for table in ("batch_files", "files", "lives", "nights"))
    + _STATES.replace("{tenant}", ", tenant")
    + SCANS
)
"""Columns for whose the scans are, and the views that show them."""

LINES = ("line_marks", "looks", "unread", "batches", "batch_files", "suppressions", "feedback")
"""What ingest fills from lines."""

CREATE = _LINES + _FOLDED + _STATES.replace("{tenant}", "") + SCANS
