ALTER TABLE "user" ALTER COLUMN password_hash DROP NOT NULL;

COMMENT ON COLUMN "user".password_hash IS 'Argon2id; none until its link was used.';

ALTER TABLE "user" ADD COLUMN station BOOLEAN DEFAULT false NOT NULL;

ALTER TABLE "user" ADD CONSTRAINT ck_user_station CHECK (NOT station OR role IN ('viewer', 'operator'));

CREATE TABLE link (
    hash TEXT NOT NULL,
    user_id INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_link PRIMARY KEY (hash),
    CONSTRAINT ck_link_hash CHECK (hash ~ '^[0-9a-f]{64}$'),
    CONSTRAINT ck_link_purpose CHECK (purpose IN ('welcome', 'enter')),
    CONSTRAINT ck_link_expires CHECK (expires_at > created_at),
    CONSTRAINT fk_link_user_id FOREIGN KEY(user_id) REFERENCES "user" (id) ON DELETE CASCADE
);

CREATE INDEX ix_link_user ON link (user_id);

COMMENT ON TABLE link IS 'What works once: to choose a password (welcome), or to be signed in (enter). Used ones are deleted.';

COMMENT ON COLUMN link.hash IS 'SHA-256 of the secret in the address.';
