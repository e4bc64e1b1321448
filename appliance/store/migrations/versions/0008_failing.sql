CREATE OR REPLACE VIEW report.failing AS
SELECT r.id AS prediction_id, r.predicted_at, p.name AS profile, m.name AS machine, v.version AS model_version,
    CASE r.source WHEN 1 THEN 'webapp' WHEN 2 THEN 'scheduled' ELSE 'api' END AS source,
    r.probability::float8 AS probability,
    coalesce(
        v.titles[array_position(r.modes, (SELECT max(chance) FROM unnest(r.modes) AS likely (chance)))], p.failing
    ) AS mode
FROM prediction r
JOIN (SELECT id, name, document -> 'words' ->> 'failing' AS failing FROM profile OFFSET 0) AS p ON p.id = r.profile_id
JOIN machine m ON m.id = r.machine_id
JOIN (
    -- Cards are large: OFFSET keeps them from being read again for every row.
    SELECT id, version, ARRAY(
        SELECT mode.value ->> 'title' FROM jsonb_array_elements(card -> 'modes') WITH ORDINALITY AS mode (value, place)
        ORDER BY mode.place
    ) AS titles
    FROM model OFFSET 0
) AS v ON v.id = r.model_id
WHERE r.failing;
