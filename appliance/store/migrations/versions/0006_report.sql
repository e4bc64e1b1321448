CREATE SCHEMA IF NOT EXISTS report;

COMMENT ON SCHEMA report IS 'What may be read from outside: no secrets, no names of people, units and titles as the profiles say.';

CREATE VIEW report.profile AS
SELECT p.name AS profile, p.title, p.document -> 'words' ->> 'failing' AS failing,
    (p.document -> 'words' ->> 'horizon_hours')::float8 AS horizon_hours,
    p.document -> 'costs' ->> 'currency' AS currency,
    (p.document -> 'costs' ->> 'missed_failure')::float8 AS cost_missed_failure,
    (p.document -> 'costs' ->> 'false_alarm')::float8 AS cost_false_alarm
FROM profile p;

COMMENT ON VIEW report.profile IS 'Kinds of machines, in the words and costs of their profiles.';

CREATE VIEW report.model AS
SELECT p.name AS profile, v.version AS model_version, v.active, v.installed_at, v.activated_at,
    (v.card ->> 'created')::timestamptz AS trained_at,
    (v.card ->> 'threshold')::float8 AS threshold,
    (v.card -> 'data' ->> 'rows')::float8 AS trained_rows,
    (v.card -> 'cv' -> 'average_precision' ->> 'mean')::float8 AS average_precision,
    (v.card -> 'at_threshold' ->> 'precision')::float8 AS precision_at_threshold,
    (v.card -> 'at_threshold' ->> 'recall')::float8 AS recall_at_threshold,
    ((v.card -> 'at_threshold' ->> 'true_alarms')::float8 + (v.card -> 'at_threshold' ->> 'false_alarms')::float8)
        / nullif((v.card -> 'data' ->> 'rows')::float8, 0) AS failing_share
FROM model v JOIN profile p ON p.id = v.profile_id;

COMMENT ON VIEW report.model IS 'Versions of models that served; failing_share is that of the training rows, unseen, at its threshold.';

CREATE VIEW report.feature AS
SELECT p.name AS profile, v.version AS model_version, v.active, f.place AS position, f.value ->> 'name' AS feature,
    f.value ->> 'title' AS title, coalesce(f.value ->> 'unit', '') AS unit,
    (f.value ->> 'title') || CASE WHEN coalesce(f.value ->> 'unit', '') = '' THEN '' ELSE ' [' || (f.value ->> 'unit') || ']' END
        AS label,
    (f.value ->> 'minimum')::float8 AS trained_from, (f.value ->> 'maximum')::float8 AS trained_to,
    (f.value ->> 'median')::float8 AS trained_median
FROM model v JOIN profile p ON p.id = v.profile_id
CROSS JOIN LATERAL jsonb_array_elements(coalesce(v.card -> 'features', '[]')) WITH ORDINALITY AS f (value, place);

COMMENT ON VIEW report.feature IS 'What a model looks at, with titles and units, and the range that training saw.';

CREATE VIEW report.machine AS
SELECT p.name AS profile, p.title AS profile_title, m.name AS machine, starts_with(m.name, 'demo-') AS simulated,
    CASE
        WHEN a.id IS NOT NULL AND a.snoozed_until > clock_timestamp() THEN 'SNOOZED'
        WHEN a.id IS NOT NULL AND a.acknowledged_at IS NOT NULL THEN 'SEEN'
        WHEN a.id IS NOT NULL THEN 'ALARM'
        WHEN s.last_predicted_at IS NULL THEN 'NO DATA'
        WHEN s.last_predicted_at < clock_timestamp() - interval '1 hour' THEN 'OLD'
        WHEN s.last_failing THEN 'WATCH'
        ELSE 'normal'
    END AS state,
    coalesce(a.details ->> 'text', '') AS reason, coalesce(a.details ->> 'title', '') AS mode,
    coalesce(a.details ->> 'action', '') AS action,
    s.last_probability::float8 AS probability, s.last_read_at AS read_at, s.last_predicted_at AS predicted_at,
    extract(epoch FROM clock_timestamp() - s.last_predicted_at)::float8 AS age_seconds,
    a.id AS alarm_id, a.opened_at
FROM machine m JOIN profile p ON p.id = m.profile_id
LEFT JOIN machine_state s ON s.machine_id = m.id
LEFT JOIN alarm a ON a.machine_id = m.id AND a.closed_at IS NULL
WHERE m.name <> '-';

COMMENT ON VIEW report.machine IS 'Every machine as it is now. OLD: nothing was predicted for it for an hour.';

CREATE VIEW report.freshness AS
SELECT p.name AS profile, p.title, came.arrived_at, done.predicted_at,
    extract(epoch FROM clock_timestamp() - came.arrived_at)::float8 AS file_age_seconds,
    extract(epoch FROM clock_timestamp() - done.predicted_at)::float8 AS prediction_age_seconds
FROM profile p
LEFT JOIN LATERAL (SELECT max(f.arrived_at) AS arrived_at FROM file f WHERE f.profile_id = p.id) AS came ON true
LEFT JOIN LATERAL (
    SELECT max(s.last_predicted_at) AS predicted_at FROM machine_state s JOIN machine m ON m.id = s.machine_id
    WHERE m.profile_id = p.id
) AS done ON true;

COMMENT ON VIEW report.freshness IS 'How old the newest file and the newest prediction of each profile are.';

CREATE VIEW report.file AS
SELECT f.id AS file_id, f.arrived_at, f.ingested_at, p.name AS profile, f.origin AS machine, f.name AS file, f.state,
    f.criticality, f.rows_in, f.rows_good, f.rows_bad, f.rows_bad::float8 / nullif(f.rows_in, 0) AS bad_share,
    coalesce(f.reason, '') AS reason, coalesce(f.sentence, '') AS sentence,
    extract(epoch FROM f.ingested_at - f.arrived_at)::float8 AS delay_seconds
FROM file f JOIN profile p ON p.id = f.profile_id;

COMMENT ON VIEW report.file IS 'Files and their rows: rows_in = rows_good + rows_bad.';

CREATE VIEW report.issue AS
SELECT f.arrived_at, f.id AS file_id, p.name AS profile, f.origin AS machine, q.rule, q.column_name AS column,
    coalesce(
        (SELECT c ->> 'title' FROM jsonb_array_elements(p.document -> 'columns') AS c WHERE c ->> 'name' = q.column_name),
        nullif(q.column_name, ''), 'whole row'
    ) AS title,
    q.count AS rows
FROM quality_issue q JOIN file f ON f.id = q.file_id JOIN profile p ON p.id = f.profile_id;

COMMENT ON VIEW report.issue IS 'Rules that rows of a file broke; a row may break several.';

CREATE VIEW report.part AS
SELECT part.id AS part_id, part.file_id, p.name AS profile, f.origin AS machine, part.number, part.rows, part.state,
    part.tries, part.failing, f.ingested_at, part.predicted_at, v.version AS model_version,
    extract(epoch FROM part.predicted_at - f.ingested_at)::float8 AS delay_seconds
FROM part JOIN file f ON f.id = part.file_id JOIN profile p ON p.id = f.profile_id LEFT JOIN model v ON v.id = part.model_id;

COMMENT ON VIEW report.part IS 'Good rows on their way to a prediction, in parts of a file.';

CREATE VIEW report.prediction AS
SELECT r.id AS prediction_id, r.predicted_at, r.read_at, p.name AS profile, m.name AS machine, v.version AS model_version,
    CASE r.source WHEN 1 THEN 'webapp' WHEN 2 THEN 'scheduled' ELSE 'api' END AS source,
    r.probability::float8 AS probability, r.failing, (r.flags & 1) = 1 AS late, (r.flags & 2) = 2 AS outside, r.file_id
FROM prediction r JOIN profile p ON p.id = r.profile_id JOIN machine m ON m.id = r.machine_id
JOIN model v ON v.id = r.model_id;

COMMENT ON VIEW report.prediction IS 'Every stored prediction. Ask for a stretch of predicted_at: there are millions.';

CREATE VIEW report.failing AS
SELECT r.id AS prediction_id, r.predicted_at, p.name AS profile, m.name AS machine, v.version AS model_version,
    CASE r.source WHEN 1 THEN 'webapp' WHEN 2 THEN 'scheduled' ELSE 'api' END AS source,
    r.probability::float8 AS probability,
    coalesce(
        (SELECT v.card -> 'modes' -> (likely.place - 1)::int ->> 'title'
            FROM unnest(r.modes) WITH ORDINALITY AS likely (chance, place) ORDER BY likely.chance DESC, likely.place LIMIT 1),
        p.document -> 'words' ->> 'failing'
    ) AS mode
FROM prediction r JOIN profile p ON p.id = r.profile_id JOIN machine m ON m.id = r.machine_id
JOIN model v ON v.id = r.model_id
WHERE r.failing;

COMMENT ON VIEW report.failing IS 'Predictions of a failure, with the way of failing that the model holds most likely.';

CREATE VIEW report.verdict AS
SELECT v.profile, v.model_version, v.failing_share AS expected_share, sum(d.rows)::float8 AS rows,
    sum(d.failing)::float8 AS failing, sum(d.failing)::float8 / nullif(sum(d.rows), 0) AS failing_now,
    -- What chance gives: the logarithm, for the probability itself is too small for any number.
    sum(d.rows) * ln(greatest(1 - v.failing_share, 1e-9)) AS log_chance_of_none,
    sum(d.rows) * ln(greatest(v.failing_share, 1e-9)) AS log_chance_of_all
FROM report.model v JOIN report.part d ON d.profile = v.profile AND d.model_version = v.model_version
WHERE v.active AND d.predicted_at > clock_timestamp() - interval '24 hours' AND NOT starts_with(d.machine, 'demo-')
GROUP BY v.profile, v.model_version, v.failing_share;

COMMENT ON VIEW report.verdict IS 'What the serving models said of the rows of files within a day, and the chance of only passing or only failing ones at the rate of the training rows.';

CREATE VIEW report.outside AS
SELECT d.day, d.day::timestamp AT TIME ZONE 'UTC' AS time, p.name AS profile, v.version AS model_version, m.name AS machine,
    starts_with(m.name, 'demo-') AS simulated, d.rows, d.outside
FROM drift d JOIN model v ON v.id = d.model_id JOIN profile p ON p.id = v.profile_id JOIN machine m ON m.id = d.machine_id;

COMMENT ON VIEW report.outside IS 'Rows a day and machine, and those with a value beyond all that training saw.';

CREATE VIEW report.drift_bin AS
SELECT n.day, n.model_id, r.position, r.name, g.place, g.edge, g.group_number, g.reference, n.rows,
    g.place = 1 AS below, g.place = cardinality(r.counts) - 1 AS above, g.place = cardinality(r.counts) AS missing
FROM (
    SELECT d.day, d.model_id, bin.place, sum(bin.rows) AS rows
    FROM drift d JOIN machine m ON m.id = d.machine_id
    CROSS JOIN LATERAL unnest(d.counts) WITH ORDINALITY AS bin (rows, place)
    WHERE NOT starts_with(m.name, 'demo-')
    GROUP BY d.day, d.model_id, bin.place
) AS n
JOIN drift_reference r ON r.model_id = n.model_id AND n.place BETWEEN r.first AND r.first + cardinality(r.counts) - 1
CROSS JOIN LATERAL (
    SELECT n.place - r.first + 1 AS place, r.edges[n.place - r.first + 1]::float8 AS edge,
        r.groups[n.place - r.first + 1] AS group_number, r.counts[n.place - r.first + 1] AS reference
) AS g;

COMMENT ON VIEW report.drift_bin IS 'Rows of all real machines a day in the bins of their model, beside its reference sample. edge: the upper end.';

CREATE VIEW report.drift AS
SELECT s.day, s.day::timestamp AT TIME ZONE 'UTC' AS time, p.name AS profile, v.version AS model_version, v.active,
    s.position, s.name AS feature,
    CASE WHEN s.name = '_probability' THEN 'Probability' ELSE coalesce(f.label, s.name) END AS label,
    s.rows, s.psi, r.chance / nullif(s.rows, 0) + r.chance / nullif(s.reference, 0) AS chance,
    CASE
        WHEN s.rows < 200 THEN 'few'
        WHEN s.psi < greatest(0.1, r.chance / nullif(s.rows, 0) + r.chance / nullif(s.reference, 0)) THEN 'none'
        WHEN s.psi >= greatest(0.25, r.chance / nullif(s.rows, 0) + r.chance / nullif(s.reference, 0)) THEN 'much'
        ELSE 'some'
    END AS level,
    s.ks, s.below / nullif(s.rows, 0) AS below, s.above / nullif(s.rows, 0) AS above,
    s.missing / nullif(s.rows, 0) AS missing, f.trained_from, f.trained_to
FROM (
    SELECT g.day, g.model_id, g.position, g.name, sum(g.n)::float8 AS rows, sum(g.reference)::float8 AS reference,
        coalesce(
            sum((g.n + 0.5) * g.ratio) FILTER (WHERE g.held) / nullif(sum(g.n + 0.5) FILTER (WHERE g.held), 0)
            - sum((g.reference + 0.5) * g.ratio) FILTER (WHERE g.held)
                / nullif(sum(g.reference + 0.5) FILTER (WHERE g.held), 0),
            0
        )::float8 AS psi,
        max(g.ks)::float8 AS ks, sum(g.below)::float8 AS below, sum(g.above)::float8 AS above, sum(g.missing)::float8 AS missing
    FROM (
        SELECT b.day, b.model_id, b.position, b.name, b.group_number, sum(b.rows)::float8 AS n,
            sum(b.reference)::float8 AS reference, sum(b.rows) + sum(b.reference) > 0 AS held,
            ln((sum(b.rows)::float8 + 0.5) / (sum(b.reference)::float8 + 0.5)) AS ratio, max(b.distance) AS ks,
            sum(b.rows) FILTER (WHERE b.below) AS below, sum(b.rows) FILTER (WHERE b.above) AS above,
            sum(b.rows) FILTER (WHERE b.missing) AS missing
        FROM (
            SELECT d.*,
                CASE WHEN NOT d.missing THEN abs(
                    (sum(d.rows) FILTER (WHERE NOT d.missing) OVER so_far)::float8
                        / nullif(sum(d.rows) FILTER (WHERE NOT d.missing) OVER whole, 0)::float8
                    - (sum(d.reference) FILTER (WHERE NOT d.missing) OVER so_far)::float8
                        / nullif(sum(d.reference) FILTER (WHERE NOT d.missing) OVER whole, 0)::float8
                ) END AS distance
            FROM report.drift_bin d
            WINDOW whole AS (PARTITION BY d.day, d.model_id, d.position),
                so_far AS (PARTITION BY d.day, d.model_id, d.position ORDER BY d.place)
        ) AS b
        GROUP BY b.day, b.model_id, b.position, b.name, b.group_number
    ) AS g
    GROUP BY g.day, g.model_id, g.position, g.name
) AS s
JOIN drift_reference r ON r.model_id = s.model_id AND r.position = s.position
JOIN model v ON v.id = s.model_id JOIN profile p ON p.id = v.profile_id
LEFT JOIN report.feature f ON f.profile = p.name AND f.model_version = v.version AND f.feature = s.name;

COMMENT ON VIEW report.drift IS 'PSI and KS of a day''s rows of all real machines, a feature; docs/drift.md.';

CREATE VIEW report.alarm AS
SELECT a.id AS alarm_id, p.name AS profile, m.name AS machine, starts_with(m.name, 'demo-') AS simulated, a.opened_at,
    a.last_seen_at, a.acknowledged_at, a.closed_at,
    CASE WHEN a.closed_at IS NOT NULL THEN 'closed' WHEN a.snoozed_until > clock_timestamp() THEN 'snoozed'
        WHEN a.acknowledged_at IS NOT NULL THEN 'acknowledged' ELSE 'open' END AS state,
    a.rows, a.probability::float8 AS probability, coalesce(a.details ->> 'title', '') AS mode,
    coalesce(a.details ->> 'text', '') AS reason, coalesce(a.details ->> 'action', '') AS action, told.kind AS outcome,
    CASE WHEN told.kind = 'failure' THEN extract(epoch FROM told.happened_at - a.opened_at)::float8 / 3600 END AS lead_hours
FROM alarm a JOIN machine m ON m.id = a.machine_id JOIN profile p ON p.id = m.profile_id
LEFT JOIN LATERAL (
    SELECT o.kind, o.happened_at FROM outcome o WHERE o.machine_id = a.machine_id AND o.alarm_id = a.id
    ORDER BY o.id DESC LIMIT 1
) AS told ON true;

COMMENT ON VIEW report.alarm IS 'Episodes, and what was told of them last.';

CREATE VIEW report.missed AS
SELECT o.id AS outcome_id, o.happened_at, p.name AS profile, m.name AS machine, starts_with(m.name, 'demo-') AS simulated
FROM outcome o JOIN machine m ON m.id = o.machine_id JOIN profile p ON p.id = m.profile_id
WHERE o.alarm_id IS NULL AND o.kind IN ('failure', 'missed_failure');

COMMENT ON VIEW report.missed IS 'Failures without an alarm.';

CREATE VIEW report.run AS
SELECT r.id AS run_id, r.kind, coalesce(r.counts ->> 'step', '') AS step, r.started_at, r.finished_at,
    coalesce(r.outcome, 'under way') AS outcome, coalesce(r.why, '') AS why,
    extract(epoch FROM r.finished_at - r.started_at)::float8 AS seconds
FROM run r;

COMMENT ON VIEW report.run IS 'Passes of the schedule.';

CREATE VIEW report.metric AS
SELECT m.at, m.name, m.labels ->> 'profile' AS profile, m.labels ->> 'criticality' AS criticality, m.value FROM metric m;

COMMENT ON VIEW report.metric IS 'Figures of the box and of passes; appliance.vitals and appliance.store.figures say which.';

CREATE VIEW report.box AS
SELECT max(n.at) AS at, extract(epoch FROM clock_timestamp() - max(n.at))::float8 AS age_seconds,
    max(n.value) FILTER (WHERE n.name = 'box_disk_free_bytes') AS disk_free_bytes,
    max(n.value) FILTER (WHERE n.name = 'box_disk_bytes') AS disk_bytes,
    max(n.value) FILTER (WHERE n.name = 'box_database_bytes') AS database_bytes,
    max(n.value) FILTER (WHERE n.name = 'box_faults') AS faults,
    max(n.value) FILTER (WHERE n.name = 'box_warnings') AS warnings,
    max(n.value) FILTER (WHERE n.name = 'backlog_parts') AS backlog_parts,
    max(n.value) FILTER (WHERE n.name = 'backlog_rows') AS backlog_rows,
    max(n.value) FILTER (WHERE n.name = 'backlog_seconds') AS backlog_seconds,
    max(n.value) FILTER (WHERE n.name = 'backlog_failed') AS backlog_failed
FROM (
    SELECT wanted.name, newest.at, newest.value
    FROM (VALUES ('box_disk_free_bytes'), ('box_disk_bytes'), ('box_database_bytes'), ('box_faults'), ('box_warnings'),
        ('backlog_parts'), ('backlog_rows'), ('backlog_seconds'), ('backlog_failed')) AS wanted (name)
    CROSS JOIN LATERAL (
        SELECT m.at, m.value FROM metric m WHERE m.name = wanted.name ORDER BY m.at DESC LIMIT 1
    ) AS newest
) AS n;

COMMENT ON VIEW report.box IS 'The newest figures of the box, on one line.';

CREATE VIEW report.disk AS
SELECT box.disk_free_bytes, box.disk_bytes, week.bytes_a_day, week.hours,
    -- A trend of less than a day, or none downwards, says nothing of the end.
    CASE WHEN week.hours >= 24 AND week.bytes_a_day < -1e6 THEN box.disk_free_bytes / -week.bytes_a_day END AS days_left
FROM report.box CROSS JOIN (
    SELECT regr_slope(m.value, extract(epoch FROM m.at)::float8) * 86400 AS bytes_a_day,
        extract(epoch FROM max(m.at) - min(m.at))::float8 / 3600 AS hours
    FROM metric m WHERE m.name = 'box_disk_free_bytes' AND m.at > clock_timestamp() - interval '7 days'
) AS week;

COMMENT ON VIEW report.disk IS 'The disk, and in how many days it is full if it goes on as in the last seven.';

CREATE VIEW report.schedule AS
SELECT wanted.kind, last.started_at, coalesce(last.outcome, 'under way') AS outcome, coalesce(last.why, '') AS why,
    extract(epoch FROM clock_timestamp() - last.started_at)::float8 AS age_seconds
FROM (VALUES ('ingest'), ('predict'), ('maintain')) AS wanted (kind)
LEFT JOIN LATERAL (SELECT * FROM run WHERE run.kind = wanted.kind ORDER BY run.id DESC LIMIT 1) AS last ON true;

COMMENT ON VIEW report.schedule IS 'The newest pass of each kind: the schedule''s heartbeat.';
