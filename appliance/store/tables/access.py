"""Who may do what, and what was answered already."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from appliance.store.tables.base import at, check, count, digest, id_, json_, metadata, one_of, to, word, yes

request = Table(
    "request",
    metadata,
    word("principal"),
    word("key"),
    Column("body_hash", Text, nullable=False),
    json_("result", None, null=True),
    at("created_at", now=True),
    PrimaryKeyConstraint("principal", "key"),
    digest("body_hash"),
    Index("ix_request_created_at", "created_at"),
    comment="Idempotency keys and what they were answered.",
)

ROLES = ("viewer", "operator", "engineer", "admin")

user = Table(
    "user",
    metadata,
    id_(Integer),
    word("name", unique=True),
    Column("role", Text, nullable=False),
    Column("password_hash", Text, comment="Argon2id; none until its link was used."),
    yes("disabled"),
    count("failed_tries"),
    at("locked_until"),
    at("created_at", now=True),
    at("last_login_at"),
    yes("station"),
    one_of("role", *ROLES),
    check("name <> ''", "named"),
    check("failed_tries >= 0", "failed_tries"),
    check("NOT station OR role IN ('viewer', 'operator')", "station"),
)

session = Table(
    "session",
    metadata,
    Column("hash", Text, primary_key=True, comment="SHA-256 of what the browser holds."),
    to("user", Integer, ondelete="CASCADE"),
    at("created_at", now=True),
    at("expires_at", null=False),
    at("last_used_at"),
    yes("station"),
    digest("hash"),
    check("expires_at > created_at", "expires"),
    Index("ix_session_user", "user_id"),
)

link = Table(
    "link",
    metadata,
    Column("hash", Text, primary_key=True, comment="SHA-256 of the secret in the address."),
    to("user", Integer, ondelete="CASCADE"),
    Column("purpose", Text, nullable=False),
    at("created_at", now=True),
    at("expires_at", null=False),
    digest("hash"),
    one_of("purpose", "welcome", "enter"),
    check("expires_at > created_at", "expires"),
    Index("ix_link_user", "user_id"),
    comment="What works once: to choose a password (welcome), or to be signed in (enter). Used ones are deleted.",
)

token = Table(
    "token",
    metadata,
    id_(Integer),
    word("name"),
    Column("hash", Text, nullable=False, unique=True, comment="SHA-256; the token itself is shown once."),
    Column("role", Text, nullable=False),
    Column("source", Text, nullable=False, comment="What predictions by this token are counted as."),
    at("created_at", now=True),
    at("expires_at"),
    at("revoked_at"),
    at("last_used_at"),
    one_of("role", *ROLES),
    one_of("source", "webapp", "scheduled", "api"),
    check("name <> ''", "named"),
    digest("hash"),
    # A name can be given again after its token was revoked.
    Index("ix_token_name", "name", unique=True, postgresql_where=text("revoked_at IS NULL")),
)
