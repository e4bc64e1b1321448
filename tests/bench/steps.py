"""Which functions make up which step. Private ones too: a renamed one stops the bench at once, not silently."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from appliance import ahead, drift_count, features, intake, outputs, pipeline, predict, quality, reader, runs, scored
from appliance.outputs import BadWriter, GoodWriter
from appliance.store import engine, ledger, models, parts, writer

Places = list[tuple[str, Any, str]]

LOOK = "look and verify"
COPY_IN = "copy and hash"
READ = "read lines and cells"
CHECK = "check the contract"
GOOD = "write good rows"
BAD = "write bad rows and report"
LEDGER = "ledger"
REMOVE = "archive and unlink"

READ_PART = "read good rows"
FEATURES = "features"
SCORE = "score"
STORE = "store (COPY)"
FOLLOW = "states and alarms"
DRIFT = "count for drift"
COMMIT = "commit"

# Not wrapped: the bench predicts in a transaction whose parts are timed one by one.
transaction = engine.transaction


def ingest_file() -> Places:
    return [
        (LOOK, pipeline, "_active_profiles"),
        (LOOK, intake, "tidy"),
        (LOOK, intake, "look"),
        (LOOK, intake, "settled"),
        (COPY_IN, intake, "claim"),
        (READ, reader, "open_file"),
        (READ, reader.Reader, "__iter__"),
        (CHECK, quality.Checker, "__init__"),
        (CHECK, quality.Checker, "check"),
        (CHECK, quality.Checker, "issues"),
        (GOOD, GoodWriter, "append"),
        (GOOD, GoodWriter, "commit"),
        (BAD, BadWriter, "append"),
        (BAD, BadWriter, "commit"),
        (BAD, outputs, "put"),
        (LEDGER, pipeline, "_claim"),
        (LEDGER, pipeline, "_is_known"),
        (LEDGER, runs, "begin"),
        (LEDGER, runs, "end"),
        (LEDGER, pipeline, "_finish_interrupted"),
        (LEDGER, models, "ensure_profile"),
        (LEDGER, ledger, "tried"),
        (LEDGER, ledger, "ingested"),
        (LEDGER, ledger, "cleared"),
        (LEDGER, Connection, "commit"),
        (REMOVE, intake, "release"),
    ]


def predict_parts() -> Places:
    return [
        (LEDGER, parts, "waiting_parts"),
        (LEDGER, parts, "lock_part"),
        (LEDGER, parts, "part_predicted"),
        (LEDGER, predict, "_known_ids"),
        (LEDGER, runs, "begin"),
        (LEDGER, runs, "end"),
        (READ_PART, ahead, "read_part"),
        (FEATURES, features, "feature_frame"),
        (FEATURES, features, "matrix_of"),
        (SCORE, scored, "_scores"),
        (STORE, writer, "write_predictions"),
        (DRIFT, drift_count, "count"),
        (FOLLOW, predict, "_machines"),
        (FOLLOW, predict, "_states"),
        (FOLLOW, scored, "history_of"),
        (FOLLOW, predict, "_late"),
        (FOLLOW, scored, "_outside"),
        (FOLLOW, predict, "_follow_machine"),
        (FOLLOW, models, "save_states"),
        (COMMIT, Connection, "commit"),
    ]
