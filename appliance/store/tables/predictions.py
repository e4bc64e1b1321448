"""Predictions, and what finds them."""

from __future__ import annotations

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    Column,
    Date,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Sequence,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from appliance.store.tables.base import at, check, id_, metadata, to

prediction_ids = Sequence("prediction_id", metadata=metadata)

# The order of ids, under a name that the primary key does not answer to: a search that asks for it gets the index that
# was made for it, and never a walk through the whole table along the primary key.
_ORDER = text("(id + 0)")
# Once more, where what a machine sent at all and what of it is suspect each have an index.
_ORDER_OF_SUSPECTS = text("(0 + id)")
_SUSPECT = text("failing OR probability >= 0.1::real")
_LIKELY = text("((probability >= 0.5::real)::integer)")

# Foreign keys are left out here: checking them costs half the speed of COPY, and ids come from this package alone.
# Widest columns first, so that no row spends bytes on alignment.
prediction = Table(
    "prediction",
    metadata,
    Column("id", BigInteger, nullable=False, autoincrement=False, comment="In order of writing, with gaps."),
    at("predicted_at", null=False),
    at("read_at", null=False),
    Column("file_id", BigInteger),
    Column("row", Integer, comment="1-based data row in its file or body."),
    Column("machine_id", Integer, nullable=False),
    Column("model_id", Integer, nullable=False),
    Column("probability", REAL, nullable=False),
    Column("profile_id", SmallInteger, nullable=False),
    Column("source", SmallInteger, nullable=False, comment="1 webapp, 2 scheduled, 3 api."),
    Column("flags", SmallInteger, nullable=False, comment="Bits: 1 late, 2 outside of the training range."),
    Column("failing", Boolean, nullable=False),
    Column("features", ARRAY(REAL), nullable=False, comment="In the order of model.features; NaN is missing."),
    Column("modes", ARRAY(REAL), nullable=False, comment="In the order of model.modes."),
    PrimaryKeyConstraint("id", "predicted_at"),
    check("probability BETWEEN 0 AND 1", "probability"),
    check("source BETWEEN 1 AND 3", "source"),
    Index("ix_prediction_machine", "machine_id", _ORDER, "source", "probability"),
    Index("ix_prediction_source", "profile_id", "source", _ORDER),
    Index(
        "ix_prediction_suspect",
        "profile_id",
        _LIKELY,
        _ORDER,
        "probability",
        "source",
        "failing",
        postgresql_where=_SUSPECT,
    ),
    Index(
        "ix_prediction_suspect_machine",
        "machine_id",
        _ORDER_OF_SUSPECTS,
        "probability",
        "source",
        "failing",
        postgresql_where=_SUSPECT,
    ),
    Index("ix_prediction_time", "predicted_at", postgresql_using="brin", postgresql_with={"pages_per_range": 32}),
    postgresql_partition_by="RANGE (predicted_at)",
    comment="One row a scored row; partitions by month are made by the writer.",
)

prediction_hour = Table(
    "prediction_hour",
    metadata,
    at("hour", null=False),
    Column("bucket", BigInteger, nullable=False, comment="id >> 12"),
    Index("ix_prediction_hour_hour", "hour", "bucket"),
    Index("ix_prediction_hour_bucket", "bucket"),
    comment="Which ids an hour wrote: the way from a time to ids, whatever the clock did. A pair may stand twice.",
)

drift_reference = Table(
    "drift_reference",
    metadata,
    to("model", Integer),
    Column("position", SmallInteger, nullable=False, comment="1, 2, ... in matrix order; the score comes last."),
    Column("name", Text, nullable=False),
    Column("first", Integer, nullable=False, comment="Its bins stand in drift.counts from here."),
    Column("edges", ARRAY(REAL), nullable=False, comment="Upper ends of bins; then above all, then missing."),
    Column("groups", ARRAY(SmallInteger), nullable=False, comment="The group of PSI that each bin belongs to."),
    Column("counts", ARRAY(BigInteger), nullable=False, comment="Rows of the reference sample, a bin."),
    Column(
        "chance", REAL, nullable=False, comment="Times (1/n + 1/m): the PSI that chance exceeds once in a thousand."
    ),
    PrimaryKeyConstraint("model_id", "position"),
    check("cardinality(groups) = cardinality(edges) + 2 AND cardinality(counts) = cardinality(groups)", "bins"),
    comment="The bins in which rows of a model are counted, and the counts of its reference sample.",
)

drift = Table(
    "drift",
    metadata,
    id_(),
    to("model", Integer),
    to("machine", Integer, ondelete="CASCADE"),
    Column("day", Date, nullable=False, comment="UTC day of the prediction."),
    Column("rows", BigInteger, nullable=False),
    Column("outside", BigInteger, nullable=False, comment="Rows with a value outside of the training range."),
    Column("counts", ARRAY(BigInteger), nullable=False, comment="Rows, a bin of drift_reference; they add up."),
    UniqueConstraint("model_id", "machine_id", "day"),
    Index("ix_drift_day", "day"),
    comment="Rows of files that were predicted for a machine on a day, counted in bins.",
)
