CREATE OR REPLACE VIEW report.prediction AS
SELECT r.id AS prediction_id, r.predicted_at, r.read_at, p.name AS profile, m.name AS machine, v.version AS model_version,
    s.source, r.probability::float8 AS probability, r.failing, (r.flags & 1) = 1 AS late, (r.flags & 2) = 2 AS outside,
    r.file_id
FROM prediction r JOIN profile p ON p.id = r.profile_id JOIN machine m ON m.id = r.machine_id
JOIN model v ON v.id = r.model_id
-- Joined, not computed: the planner knows how many rows each has.
JOIN (VALUES (1::smallint, 'webapp'), (2::smallint, 'scheduled'), (3::smallint, 'api')) AS s (number, source)
    ON s.number = r.source;

CREATE OR REPLACE VIEW report.failing AS
SELECT r.id AS prediction_id, r.predicted_at, p.name AS profile, m.name AS machine, v.version AS model_version,
    s.source, r.probability::float8 AS probability,
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
JOIN (VALUES (1::smallint, 'webapp'), (2::smallint, 'scheduled'), (3::smallint, 'api')) AS s (number, source)
    ON s.number = r.source
-- Not as the index of suspects has it: that one is walked as a whole, while a stretch of time is asked for.
WHERE coalesce(r.failing, false);
