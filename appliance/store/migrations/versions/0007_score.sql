CREATE VIEW report.score AS
SELECT b.day, p.name AS profile, v.version AS model_version, v.active, b.group_number AS tenth,
    -- The last tenth has no upper end of its own, and what lies above all counts with it.
    CASE WHEN bool_or(b.above) THEN NULL ELSE max(b.edge) END AS upto,
    sum(b.rows)::float8 AS rows,
    sum(b.reference)::float8 / nullif(sum(sum(b.reference)) OVER (PARTITION BY b.day, v.id), 0)::float8 AS expected
FROM report.drift_bin b JOIN model v ON v.id = b.model_id JOIN profile p ON p.id = v.profile_id
WHERE b.name = '_probability' AND NOT b.missing
GROUP BY b.day, v.id, p.name, v.version, v.active, b.group_number;

COMMENT ON VIEW report.score IS 'Rows a day by the tenth of the training sample that their probability lies in; upto: its upper end.';
