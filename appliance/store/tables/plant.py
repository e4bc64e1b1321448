"""What the plant is doing: machines, alarms, outcomes; and what the appliance is doing."""

from __future__ import annotations

from sqlalchemy import (
    DOUBLE_PRECISION,
    REAL,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from appliance.store.tables.base import at, check, count, digest, id_, json_, metadata, one_of, to, word

alarm = Table(
    "alarm",
    metadata,
    id_(),
    to("machine", Integer),
    at("opened_at", null=False),
    at("last_seen_at", null=False),
    count("rows", BigInteger),
    Column("probability", REAL, nullable=False, comment="The highest of the episode."),
    Column("first_prediction_id", BigInteger),
    Column("last_prediction_id", BigInteger),
    json_("details"),
    at("acknowledged_at"),
    word("acknowledged_by", null=True),
    word("note", null=True),
    at("snoozed_until"),
    at("closed_at"),
    Column("close_reason", Text),
    one_of("close_reason", "calm", "outcome"),
    check("(closed_at IS NULL) = (close_reason IS NULL)", "closed"),
    check("(acknowledged_at IS NULL) = (acknowledged_by IS NULL)", "acknowledged"),
    check("last_seen_at >= opened_at", "seen"),
    check("rows >= 0", "rows"),
    Index("ix_alarm_open", "machine_id", unique=True, postgresql_where=text("closed_at IS NULL")),
    Index("ix_alarm_machine", "machine_id", "id"),
    comment="An episode of a machine that is predicted to fail; at most one is open a machine.",
)

machine_state = Table(
    "machine_state",
    metadata,
    Column("machine_id", Integer, ForeignKey("machine.id"), primary_key=True, autoincrement=False),
    json_("recent", "[]"),
    Column("verdicts", ARRAY(Boolean), nullable=False, server_default=text("'{}'"), comment="Oldest first."),
    count("calm"),
    Column("last_id", BigInteger),
    Column("last_probability", REAL),
    Column("last_failing", Boolean),
    at("last_predicted_at"),
    at("last_read_at"),
    to("alarm", null=True),
    at("cooldown_until"),
    check("calm >= 0", "calm"),
    # Rewritten with every batch: room in the page keeps the new version beside the old.
    postgresql_with={"fillfactor": "60"},
    comment="What the next row of a machine needs to know about those before it.",
)

outcome = Table(
    "outcome",
    metadata,
    id_(),
    to("machine", Integer),
    to("alarm", null=True),
    at("happened_at", null=False),
    Column("kind", Text, nullable=False),
    word("who"),
    word("note", server_default=""),
    json_("predicted", None, null=True),
    at("created_at", now=True),
    to("outbox", null=True),
    one_of("kind", "failure", "false_alarm", "missed_failure", "planned_work"),
    Index("ix_outcome_machine", "machine_id", "happened_at"),
    Index("ix_outcome_outbox_id", "outbox_id"),
    comment="What really happened, told by a person, with a copy of what was predicted.",
)

run = Table(
    "run",
    metadata,
    id_(),
    Column("kind", Text, nullable=False),
    at("started_at", now=True),
    at("finished_at"),
    Column("outcome", Text),
    word("why", null=True),
    json_("counts"),
    one_of("kind", "ingest", "predict", "maintain", "sync", "audit", "backup", "drill"),
    one_of("outcome", "done", "skipped", "failed"),
    check("(finished_at IS NULL) = (outcome IS NULL)", "finished"),
    Index("ix_run_kind", "kind", "id"),
    comment="Passes of the schedule; one with nothing to do is skipped, one without an end was killed.",
)

event = Table(
    "event",
    metadata,
    id_(),
    at("at", now=True),
    word("kind"),
    Column("severity", Text, nullable=False),
    word("message"),
    json_("details"),
    to("profile", SmallInteger, null=True),
    one_of("severity", "info", "warning", "error"),
    Index("ix_event_at", "at"),
    Index("ix_event_kind", "kind", "id"),
)

notice = Table(
    "notice",
    metadata,
    id_(),
    Column("kind", Text, nullable=False),
    Column("ref_id", BigInteger, nullable=False, comment="The alarm, file or event that it tells of."),
    at("created_at", now=True),
    at("due_at", now=True),
    at("settled_at"),
    one_of("kind", "alarm", "file", "event"),
    UniqueConstraint("kind", "ref_id"),
    Index("ix_notice_due", "due_at", postgresql_where=text("settled_at IS NULL")),
    comment="What people have to be told, once; written in the transaction of its cause.",
)

delivery = Table(
    "delivery",
    metadata,
    to("notice", ondelete="CASCADE"),
    Column("target", Text, nullable=False, comment="SHA-256 of the target's address, which is a secret."),
    word("label"),
    count("tries"),
    at("next_try_at", now=True),
    at("sent_at"),
    at("given_up_at"),
    word("error", null=True),
    PrimaryKeyConstraint("notice_id", "target"),
    digest("target"),
    check("sent_at IS NULL OR given_up_at IS NULL", "ended"),
    Index("ix_delivery_sent", "target", "sent_at"),
    comment="A notice on its way to one target.",
)

metric = Table(
    "metric",
    metadata,
    id_(),
    at("at", now=True),
    word("name"),
    json_("labels"),
    Column("value", DOUBLE_PRECISION, nullable=False),
    Index("ix_metric_name", "name", "at"),
)
