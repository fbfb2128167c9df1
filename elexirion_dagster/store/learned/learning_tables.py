"""The tables and views of what is learned from: whose slot a call was, scores, what people said, usable examples."""

_LINES = """
ALTER TABLE intents ADD COLUMN pipeline VARCHAR;
ALTER TABLE intents ADD COLUMN slot VARCHAR;
ALTER TABLE answers ADD COLUMN pipeline VARCHAR;
ALTER TABLE answers ADD COLUMN slot VARCHAR;
ALTER TABLE feedback ADD COLUMN about VARCHAR;
ALTER TABLE feedback ADD COLUMN step VARCHAR;
ALTER TABLE feedback ADD COLUMN step_path VARCHAR;
ALTER TABLE feedback ADD COLUMN score DOUBLE;
ALTER TABLE feedback ADD COLUMN expected JSON;
CREATE TABLE marks (
    root_run VARCHAR, run VARCHAR, tenant VARCHAR, ts TIMESTAMP, about VARCHAR, pipeline VARCHAR, step VARCHAR,
    path VARCHAR, name VARCHAR, source VARCHAR, value DOUBLE, error VARCHAR, comment VARCHAR
);
"""

_CALLS = """
CREATE OR REPLACE VIEW calls AS
SELECT root_run, run, call_id, coalesce(a.tenant, i.tenant) AS tenant, coalesce(a.path, i.path) AS path,
    coalesce(a.request_hash, i.request_hash) AS request_hash, coalesce(a.occurrence, i.occurrence) AS occurrence,
    coalesce(a.attempt, i.attempt) AS attempt, coalesce(a.provider, i.provider) AS provider,
    coalesce(a.model, i.model) AS model, coalesce(a.status, 'possibly_paid') AS status, i.ts AS asked_at,
    a.ts AS answered_at, max_usd, max_tokens, text, stop_reason, request_id, prompt, inputs, prompt_version, cause,
    message, http_status, billed, cost_usd, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens,
    latency_s, coalesce(a.pipeline, i.pipeline) AS pipeline, coalesce(a.slot, i.slot) AS slot
FROM intents i FULL JOIN answers a USING (root_run, run, call_id);
"""

_OUTCOMES = r"""
CREATE OR REPLACE VIEW outcomes AS
WITH results AS (
    FROM steps QUALIFY row_number() OVER (PARTITION BY root_run, path ORDER BY ts DESC) = 1
), asked AS (
    SELECT *, regexp_replace(path, '\[(sample \d+|fallback)\]$', '') AS step_path FROM calls
)
SELECT coalesce(c.pipeline, runs.pipeline) AS pipeline, c.root_run, c.run, c.tenant, c.path, results.step, c.call_id,
    c.occurrence, c.attempt, coalesce(c.answered_at, c.asked_at) AS ts, c.provider, c.model, c.prompt_version,
    c.inputs, c.prompt, c.text, results.data, results.status, c.status AS call_status,
    c.status = 'replied' AND row_number() OVER (
        PARTITION BY c.root_run, c.path, c.status ORDER BY c.answered_at DESC, c.call_id) = 1 AS is_last,
    coalesce(c.cause, results.cause) AS cause, coalesce(c.message, results.message) AS message, c.cost_usd,
    c.input_tokens, c.output_tokens, c.cache_read_tokens, c.cache_write_tokens, c.latency_s,
    coalesce(c.slot, regexp_replace(c.step_path, '\[[^\]]*\]', '', 'g')) AS slot, c.step_path,
    ends_with(c.path, '[fallback]') AND c.path <> c.step_path AS is_fallback, c.request_hash, c.stop_reason,
    results.text AS answer_text, results.reason, results.cause AS step_cause
FROM asked c LEFT JOIN runs USING (root_run, run)
LEFT JOIN results ON results.root_run = c.root_run AND results.path = c.step_path;
"""

_SCORES = """
CREATE VIEW scores AS
WITH marked AS (
    SELECT coalesce(about, root_run) AS root_run, path, pipeline, step, name, source, value, error, comment, ts
    FROM marks WHERE path IS NOT NULL AND (value IS NULL OR value BETWEEN 0 AND 1)
    QUALIFY row_number() OVER (PARTITION BY coalesce(about, root_run), path, name ORDER BY ts DESC) = 1
), said AS (
    SELECT about AS root_run, step_path AS path, pipeline, step, 'feedback' AS name, 'people' AS source, score AS value,
        NULL AS error, comment, ts
    FROM feedback WHERE step_path IS NOT NULL AND score BETWEEN 0 AND 1
    QUALIFY row_number() OVER (PARTITION BY about, step_path ORDER BY ts DESC) = 1
), parsed AS (
    SELECT root_run, step_path AS path, pipeline, slot AS step, 'schema' AS name, 'schema' AS source,
        CASE WHEN status = 'succeeded' THEN 1.0 ELSE 0.0 END AS value, NULL AS error, NULL AS comment, max(ts) AS ts
    FROM outcomes
    WHERE call_status = 'replied' AND NOT is_fallback AND ((status = 'succeeded' AND data IS NOT NULL)
        OR (status = 'failed' AND step_cause = 'malformed_output')
        OR (status = 'degraded' AND starts_with(reason, 'fallback after malformed_output')))
    GROUP BY ALL
)
FROM marked UNION ALL FROM said UNION ALL FROM parsed;
"""

_EXAMPLES = """
CREATE VIEW examples AS
WITH answered AS (
    SELECT pipeline, slot AS step, root_run, step_path, max(ts) AS ts,
        arg_max(provider || '/' || model, ts) AS model, arg_max(prompt_version, ts) AS prompt_version,
        arg_max(inputs, ts) AS inputs, coalesce(any_value(data), to_json(any_value(answer_text))) AS answer,
        CASE WHEN count(cost_usd) = count(*) THEN sum(cost_usd) / count(DISTINCT path) END AS cost_usd,
        sum(latency_s) / count(DISTINCT path) AS latency_s
    FROM outcomes
    WHERE call_status = 'replied' AND status = 'succeeded' AND NOT is_fallback AND prompt_version IS NOT NULL
    GROUP BY ALL
), judged AS (
    SELECT root_run, path AS step_path, avg(value) AS score,
        avg(value) FILTER (source IN ('people', 'expression')) AS whole,
        string_agg(comment, chr(10) ORDER BY ts) AS comment, bool_or(source IN ('people', 'finding')) AS by_people
    FROM scores WHERE source <> 'schema' AND value IS NOT NULL GROUP BY ALL
), corrected AS (
    SELECT about AS root_run, step_path, expected FROM feedback
    WHERE step_path IS NOT NULL AND (expected IS NOT NULL OR score >= 0.99)
    QUALIFY row_number() OVER (PARTITION BY about, step_path ORDER BY ts DESC) = 1
)
SELECT pipeline, step, root_run, step_path AS path, ts, model, prompt_version, inputs, answer,
    coalesce(expected, CASE WHEN score >= 0.99 AND whole >= 0.99 THEN answer END) AS expected, score, comment,
    CASE WHEN by_people OR expected IS NOT NULL THEN 'feedback' ELSE 'run' END AS source, cost_usd, latency_s
FROM answered LEFT JOIN judged USING (root_run, step_path) LEFT JOIN corrected USING (root_run, step_path);
"""

LINES = ("marks",)
"""What ingest fills from lines."""

CREATE = _LINES + _CALLS + _OUTCOMES + _SCORES + _EXAMPLES
