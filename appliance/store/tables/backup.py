"""Backups that this box made: where each lies, and whether it was found to be good."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text, UniqueConstraint, text

from appliance.store.tables.base import at, check, digest, id_, metadata, word, yes

backup = Table(
    "backup",
    metadata,
    id_(),
    word("name"),
    word("place", comment="The folder, or host and bucket."),
    at("made_at", null=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False, comment="Of its manifest, which has those of all its files."),
    word("revision", comment="Version of our tables in it."),
    yes("secrets"),
    at("verified_at"),
    word("damage", null=True, comment="What is wrong with it."),
    at("drilled_at"),
    word("drill_error", null=True, comment="Why the newest drill with it failed."),
    at("removed_at"),
    UniqueConstraint("place", "name"),
    digest("sha256"),
    check("bytes >= 0", "bytes"),
    check("drill_error IS NULL OR drilled_at IS NOT NULL", "drill"),
    Index("ix_backup_there", "id", postgresql_where=text("removed_at IS NULL")),
    comment="Backups, in the order in which they were made. Verified: every byte was read and is as it was.",
)
