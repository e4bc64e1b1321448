"""What goes to S3: what waits, what was tried, what the store confirmed."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from appliance.store.tables.base import at, check, count, digest, id_, metadata, one_of, to, word

outbox = Table(
    "outbox",
    metadata,
    id_(),
    Column("layer", Text, nullable=False),
    to("profile", SmallInteger),
    to("file", null=True),
    to("model", Integer, null=True),
    Column("day", Date, nullable=False, comment="The date= under which it lies in the bucket, UTC."),
    Column("first_id", BigInteger, comment="Of predictions: the ids that it was made of, from here ..."),
    Column("last_id", BigInteger, comment="... to here."),
    word("path", comment="Below the data folder."),
    Column("size", BigInteger),
    Column("sha256", Text),
    word("bucket", null=True, comment="Host and bucket that it goes to, or went."),
    # In the order of their bytes, as stores list them.
    Column("key", Text(collation="C")),
    Column("part_bytes", Integer, comment="Larger files go in parts of so many bytes."),
    word("upload_id", null=True, comment="The upload in parts that is under way."),
    count("tries"),
    at("created_at", now=True),
    at("next_try_at", now=True),
    at("tried_at"),
    word("error", null=True),
    at("verified_at"),
    Column("proof", Text, comment="checksum: the store told it; read: it was read back."),
    word("etag", null=True),
    one_of("layer", "good", "bad", "predictions", "outcomes"),
    one_of("proof", "checksum", "read"),
    digest("sha256"),
    check("(layer IN ('good', 'bad')) = (file_id IS NOT NULL)", "file"),
    check("(layer = 'predictions') = (first_id IS NOT NULL AND last_id IS NOT NULL AND model_id IS NOT NULL)", "ids"),
    check("tries >= 0 AND size >= 0 AND part_bytes > 0", "counts"),
    check(
        "verified_at IS NULL OR (size IS NOT NULL AND sha256 IS NOT NULL AND bucket IS NOT NULL AND key IS NOT NULL"
        " AND proof IS NOT NULL)",
        "verified",
    ),
    Index("ix_outbox_file_id", "file_id", "layer", unique=True, postgresql_where=text("file_id IS NOT NULL")),
    Index("ix_outbox_key", "bucket", "key", unique=True, postgresql_where=text("key IS NOT NULL")),
    Index("ix_outbox_waiting", "id", postgresql_where=text("verified_at IS NULL")),
    Index("ix_outbox_day", "day"),
    comment="Objects of the bucket. Verified: the store confirmed the SHA-256 of what it has.",
)

outbox_part = Table(
    "outbox_part",
    metadata,
    to("outbox", ondelete="CASCADE"),
    Column("number", Integer, nullable=False, comment="1, 2, ... within the upload."),
    Column("sha256", Text, nullable=False),
    word("etag"),
    PrimaryKeyConstraint("outbox_id", "number"),
    digest("sha256"),
    comment="Parts of an upload under way that the store has taken.",
)

manifest = Table(
    "manifest",
    metadata,
    word("bucket"),
    Column("day", Date, nullable=False),
    Column("key", Text, nullable=False),
    word("etag"),
    Column("objects", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    at("made_at", null=False),
    PrimaryKeyConstraint("bucket", "day"),
    check("objects >= 0 AND bytes >= 0", "counts"),
    comment="The newest signed list of a day's objects that was put into a bucket.",
)

inbox = Table(
    "inbox",
    metadata,
    id_(),
    word("bucket"),
    word("key"),
    word("etag"),
    Column("size", BigInteger, nullable=False),
    word("path", null=True, comment="Below the drop folder, when it was put there."),
    word("refusal", null=True),
    at("taken_at", now=True),
    UniqueConstraint("bucket", "key", "etag"),
    check("(path IS NULL) = (refusal IS NOT NULL)", "path"),
    check("size >= 0", "size"),
    comment="Objects that were brought from a bucket into the drop folder, each version once.",
)

outbox_mark = Table(
    "outbox_mark",
    metadata,
    Column("layer", Text, primary_key=True),
    Column("last_id", BigInteger, nullable=False),
    at("moved_at", null=False),
    one_of("layer", "predictions"),
    comment="Up to which id rows were put into the outbox.",
)
