CREATE TABLE manifest (
    bucket TEXT NOT NULL,
    day DATE NOT NULL,
    key TEXT NOT NULL,
    etag TEXT NOT NULL,
    objects BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    made_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_manifest PRIMARY KEY (bucket, day),
    CONSTRAINT ck_manifest_counts CHECK (objects >= 0 AND bytes >= 0)
);

COMMENT ON TABLE manifest IS 'The newest signed list of a day''s objects that was put into a bucket.';
