CREATE VIEW report.bucket AS
SELECT count(*) AS waiting, coalesce(sum(o.size), 0)::float8 AS waiting_bytes,
    -- A clock that was set back must not make it younger than it is.
    greatest(extract(epoch FROM clock_timestamp() - min(o.created_at)), 0)::float8 AS oldest_seconds,
    coalesce(max(o.tries), 0) AS tries,
    (SELECT w.error FROM outbox w WHERE w.verified_at IS NULL AND w.error IS NOT NULL ORDER BY w.tried_at DESC LIMIT 1) AS why
FROM outbox o WHERE o.verified_at IS NULL;

COMMENT ON VIEW report.bucket IS 'What waits for S3: objects, bytes, how long the oldest does, and why the last try failed.';

CREATE OR REPLACE VIEW report.schedule AS
SELECT wanted.kind, last.started_at, coalesce(last.outcome, 'under way') AS outcome, coalesce(last.why, '') AS why,
    extract(epoch FROM clock_timestamp() - last.started_at)::float8 AS age_seconds
FROM (VALUES ('ingest', true), ('predict', true), ('maintain', true), ('sync', false), ('audit', false)) AS wanted (kind, always)
LEFT JOIN LATERAL (SELECT * FROM run WHERE run.kind = wanted.kind ORDER BY run.id DESC LIMIT 1) AS last ON true
-- Without a bucket nothing is copied, and nothing is missing.
WHERE wanted.always OR last.id IS NOT NULL;
