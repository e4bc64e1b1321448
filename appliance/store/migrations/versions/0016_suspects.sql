-- The verdict in the index, so that passing rows of a high probability, of which there are hardly any, are not looked for row
-- by row; those that are likely to fail by themselves, so that few among them are found without a walk through all suspects;
-- and what machine a suspect is of in an index of its own, for the same reason. The release before works with both.
DROP INDEX ix_prediction_suspect;

CREATE INDEX ix_prediction_suspect ON prediction (profile_id, ((probability >= 0.5::real)::integer), (id + 0), probability, source, failing) WHERE failing OR probability >= 0.1::real;

CREATE INDEX ix_prediction_suspect_machine ON prediction (machine_id, (0 + id), probability, source, failing) WHERE failing OR probability >= 0.1::real;
