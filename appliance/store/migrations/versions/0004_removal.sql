CREATE INDEX ix_arrival_duplicate_of ON arrival (duplicate_of) WHERE duplicate_of IS NOT NULL;

CREATE INDEX ix_file_mended_from ON file (mended_from) WHERE mended_from IS NOT NULL;
