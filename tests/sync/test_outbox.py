"""What goes to the bucket, under which names, and what the ledger and the files' states say of it."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sqlalchemy import text

from appliance import maintain, outbox, outbox_export, outbox_send
from appliance.errors import Conflict, SettingError
from appliance.settings import Settings
from appliance.store import engine as engines
from appliance.store import ledger, queries, writer
from tests.sync.conftest import MIB, Stage
from tests.sync.proxy import Proxy
from tests.unit.store import made


def state(stage: Stage, file_id: int) -> str:
    return str(stage.rows("SELECT state FROM file WHERE id = :id", id=file_id)[0][0])


def test_rows_predictions_and_outcomes_go_under_their_names_and_are_confirmed(stage: Stage) -> None:
    file_id = stage.file(b"good rows", b"bad rows")
    stage.predict()
    stage.outcome()
    done = stage.sync()
    assert (done.put, done.sent, done.files, done.left, done.errors) == (4, 4, 1, 0, [])
    found = stage.objects()
    today = datetime.now(UTC).date()
    folders = {key.rpartition("/")[0]: key.rpartition("/")[2] for key in found}
    assert set(folders) == {
        f"layer={layer}/profile=milling/site=north/date={today}" for layer in ("good", "bad", "predictions", "outcomes")
    }
    good = folders[f"layer=good/profile=milling/site=north/date={today}"]
    assert good == f"{file_id}-{made.digest_of(b'good rows')[:12]}.parquet"
    assert found[f"layer=good/profile=milling/site=north/date={today}/{good}"] == b"good rows"
    assert b"bad rows" in found.values()
    assert stage.is_exact
    assert state(stage, file_id) == "synced"
    assert stage.made_here() == []


def test_a_second_pass_has_nothing_to_do_and_asks_the_store_nothing(stage: Stage, proxy: Proxy) -> None:
    stage.file(b"good", b"bad")
    stage.sync()
    proxy.got.clear()
    done = stage.sync()
    assert (done.sent, done.why) == (0, "Nothing waits for the bucket.")
    assert proxy.got == []
    assert stage.rows("SELECT outcome FROM run WHERE kind = 'sync' ORDER BY id") == [("done",), ("skipped",)]


def test_without_a_bucket_nothing_leaves_the_box(stage: Stage, proxy: Proxy) -> None:
    with pytest.raises(SettingError, match="No bucket is set"):
        stage.having(s3_bucket=None).sync()
    assert proxy.got == []


def test_the_mended_name_and_the_hash_stand_beside_the_object(stage: Stage) -> None:
    stage.file(b"", b"bad rows", name="M\u00fchle 3.csv")
    stage.sync()
    (key,) = stage.objects()
    head = stage.store.client.head_object(Bucket=stage.settings.s3_bucket, Key=key)
    assert head["Metadata"] == {"sha256": made.digest_of(b"bad rows"), "name": "M%C3%BChle 3.csv"}


def test_a_prefix_stands_before_all_keys(stage: Stage) -> None:
    stage.having(s3_prefix="plants/").file()
    stage.having(s3_prefix="plants/").sync()
    assert all(key.startswith("plants/layer=good/") for key in stage.objects())


def test_predictions_are_parquet_that_says_its_units(stage: Stage) -> None:
    file_id = stage.file(rows=5)
    stage.predict()
    stage.sync()
    (data,) = [data for key, data in stage.objects().items() if key.startswith("layer=predictions/")]
    frame = pl.read_parquet(io.BytesIO(data))
    assert frame.columns == [
        "id", "predicted_at", "read_at", "machine", "file_id", "row", "model_version", "source", "probability",
        "failing", "late", "outside", "feature_a", "feature_b", "mode_wear",
    ]  # fmt: skip
    assert frame["row"].to_list() == [1, 2, 3, 4, 5]
    assert frame["file_id"].unique().to_list() == [file_id]
    assert frame.schema["predicted_at"] == pl.Datetime("us", "UTC")
    wanted = stage.rows(
        "SELECT id, predicted_at, probability::float8, features[1]::float8, failing FROM prediction ORDER BY id"
    )
    assert frame.select("id", "predicted_at", "probability", "feature_a", "failing").rows() == wanted
    said = pl.read_parquet_metadata(io.BytesIO(data))
    assert (said["layer"], said["profile"], said["site"], said["model_version"]) == (
        "predictions", "milling", "north", "v1",
    )  # fmt: skip
    assert json.loads(said["units"]) == {}


def test_units_of_features_are_those_of_the_profile(stage: Stage) -> None:
    stage.change("UPDATE model SET features = '{torque,power}'")
    stage.file()
    stage.predict()
    stage.sync()
    (data,) = [data for key, data in stage.objects().items() if key.startswith("layer=predictions/")]
    said = pl.read_parquet_metadata(io.BytesIO(data))
    assert json.loads(said["units"]) == {"feature_torque": "N.m", "feature_power": "W"}
    assert json.loads(said["titles"])["feature_torque"]


def test_missing_values_and_rows_of_no_file_go_too(stage: Stage) -> None:
    with engines.transaction(stage.engine) as connection:
        batch = made.batch(stage.plant, 3, source="api")
        batch.features[1] = float("nan")
        writer.write_predictions(connection, batch)
    stage.sync()
    (data,) = stage.objects().values()
    frame = pl.read_parquet(io.BytesIO(data))
    assert frame["feature_a"].is_nan().to_list() == [False, True, False]
    assert frame["file_id"].null_count() == frame["row"].null_count() == 3
    assert frame["source"].unique().to_list() == ["api"]


def test_outcomes_go_once_and_without_who_told_them(stage: Stage) -> None:
    stage.outcome("first")
    stage.sync()
    stage.outcome("second")
    stage.sync()
    frames = [pl.read_parquet(io.BytesIO(data)) for data in stage.objects().values()]
    assert sorted(note for frame in frames for note in frame["note"]) == ["first", "second"]
    assert all("who" not in frame.columns and "kim" not in str(frame.rows()) for frame in frames)


def test_simulated_rows_stay_on_the_box(stage: Stage) -> None:
    with engines.transaction(stage.engine) as connection:
        demo = made.plant(connection, machines=["demo-mill-1"])
        writer.write_predictions(connection, made.batch(demo, 3))
    file_id = stage.file(origin="demo-mill-1")
    stage.predict()
    done = stage.sync()
    assert (done.put, stage.objects()) == (0, {})
    assert state(stage, file_id) == "predicted"


def test_a_file_is_synced_only_with_all_its_predictions(stage: Stage, proxy: Proxy) -> None:
    file_id = stage.file()
    stage.sync()
    assert (state(stage, file_id), stage.layers()) == ("ingested", ["good"])
    stage.predict()
    proxy.mood, proxy.meant = "corrupt", lambda request: "predictions" in request.path
    stage.sync()
    assert state(stage, file_id) == "predicted"
    proxy.well()
    stage.hurry()
    stage.sync()
    assert state(stage, file_id) == "synced"


def test_predictions_of_a_transaction_under_way_are_waited_for(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its ids are lower than those that are durable already; whoever went by the newest would lose it."""
    monkeypatch.setattr(outbox_export, "_PATIENCE_SECONDS", 0.2)
    with engines.transaction(stage.engine) as connection:
        writer.ensure_partition(connection, datetime.now(UTC))
    with engines.transaction(stage.engine) as slow:
        first, _ = writer.write_predictions(slow, made.batch(stage.plant, 2))
        with engines.transaction(stage.engine) as quick:
            later, _ = writer.write_predictions(quick, made.batch(stage.plant, 2))
        assert later > first
        assert stage.sync().put == 0
    assert stage.sync().put == 1
    (data,) = stage.objects().values()
    assert pl.read_parquet(io.BytesIO(data)).height == 4


def test_ids_that_were_reserved_and_never_used_hold_nothing_up(stage: Stage) -> None:
    with engines.transaction(stage.engine) as connection:
        writer.reserve_ids(connection, 500_000)
        writer.write_predictions(connection, made.batch(stage.plant, 2))
    assert stage.sync().sent == 1


def test_predictions_are_gathered_for_a_while(stage: Stage) -> None:
    def predict() -> None:
        with engines.transaction(stage.engine) as connection:
            writer.write_predictions(connection, made.batch(stage.plant, 2))

    predict()
    assert stage.sync().sent == 1, "the first go at once"
    predict()
    assert stage.sync().sent == 0
    assert stage.sync(flush=True).sent == 1
    predict()
    stage.change("UPDATE outbox_mark SET moved_at = moved_at - interval '61 minutes'")
    assert stage.sync().sent == 1
    predict()
    stage.change("UPDATE outbox_mark SET moved_at = moved_at + interval '10 years'")
    assert stage.sync().sent == 1, "a clock that was set back does not stop it"


def test_many_predictions_go_as_several_files(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_export, "IDS_AT_A_TIME", 10)
    with engines.transaction(stage.engine) as connection:
        writer.write_predictions(connection, made.batch(stage.plant, 25))
    assert stage.sync().sent == 3
    ids = [pl.read_parquet(io.BytesIO(data))["id"].to_list() for data in stage.objects().values()]
    assert len(set(itertools.chain.from_iterable(ids))) == 25


def test_predictions_go_by_the_day_and_the_model_that_made_them(stage: Stage) -> None:
    now = datetime.now(UTC)
    with engines.transaction(stage.engine) as connection:
        for days in (0, 1):
            writer.write_predictions(connection, made.batch(stage.plant, 2), now - timedelta(days=days))
        other = made.plant(connection, "pump")
        writer.write_predictions(connection, made.batch(other, 2))
    assert stage.sync().sent == 3
    assert {tuple(key.split("/")[1:4:2]) for key in stage.objects()} == {
        ("profile=milling", f"date={now.date()}"),
        ("profile=milling", f"date={(now - timedelta(days=1)).date()}"),
        ("profile=pump", f"date={now.date()}"),
    }


def test_a_large_file_goes_in_parts(stage: Stage, proxy: Proxy, large: bytes) -> None:
    stage.file(large)
    assert stage.sync().sent == 1
    assert sum(request.is_part for request in proxy.got) == 3
    assert stage.is_exact
    assert stage.rows("SELECT count(*) FROM outbox_part") == [(0,)]


def test_parts_that_the_store_took_are_not_sent_again(stage: Stage, proxy: Proxy, large: bytes) -> None:
    stage.file(large)
    proxy.mood, proxy.meant = "cut", lambda request: "partNumber=3" in request.query
    with pytest.raises(Exception, match="cannot be reached"):
        stage.sync()
    assert stage.rows("SELECT number FROM outbox_part ORDER BY 1") == [(1,), (2,)]
    proxy.well()
    stage.hurry()
    assert stage.sync().sent == 1
    assert ["partNumber=3" in request.query for request in proxy.got if request.is_part] == [True]
    assert stage.is_exact


def test_an_upload_that_the_store_cleared_away_begins_anew(stage: Stage, proxy: Proxy, large: bytes) -> None:
    stage.file(large)
    proxy.mood, proxy.meant = "cut", lambda request: "partNumber=3" in request.query
    with pytest.raises(Exception, match="cannot be reached"):
        stage.sync()
    ((upload, key),) = stage.rows("SELECT upload_id, key FROM outbox")
    stage.store.client.abort_multipart_upload(Bucket=stage.settings.s3_bucket, Key=key, UploadId=upload)
    # As S3 says it; moto breaks down over a part of an upload that it does not know.
    proxy.mood, proxy.meant = "forgets", lambda request: upload in request.query
    stage.hurry()
    assert stage.sync().sent == 1
    assert stage.is_exact


def test_an_upload_that_nobody_wrote_down_is_let_go_of(stage: Stage, large: bytes) -> None:
    file_id = stage.file(large)
    key = next(iter(stage.rows("SELECT day FROM file")))[0]
    name = f"{file_id}-{made.digest_of(large)[:12]}.parquet"
    whole = f"layer=good/profile=milling/site=north/date={key}/{name}"
    stage.store.client.create_multipart_upload(Bucket=stage.settings.s3_bucket, Key=whole)
    assert stage.sync().sent == 1
    assert stage.is_exact


def test_outside_of_the_hours_nothing_is_copied(stage: Stage) -> None:
    hour = datetime.now(UTC).hour
    shut = stage.having(s3_hours=f"{(hour + 2) % 24}-{(hour + 3) % 24}")
    stage.file()
    done = shut.sync()
    assert "allowed between" in done.why
    assert stage.objects() == {}
    assert stage.having(s3_hours=f"{hour}-{(hour + 2) % 24}").sync().sent == 1


def test_a_pass_ends_when_its_time_is_over(stage: Stage) -> None:
    stage.file()
    assert stage.sync(seconds=0).sent == 0
    assert stage.sync(seconds=60).sent == 1


def test_only_one_copies_at_a_time(stage: Stage) -> None:
    with outbox.exclusive(stage.settings.outbox), pytest.raises(Conflict, match="copied already"):
        stage.sync()


def test_what_is_missing_or_other_in_the_bucket_is_sent_again(stage: Stage) -> None:
    files = [stage.file(f"good {n}".encode()) for n in range(3)]
    stage.predict()
    stage.outcome()
    stage.sync()
    client, bucket = stage.store.client, stage.settings.s3_bucket
    keys = {key.split("/")[0]: key for key in stage.objects() if "layer=good" not in key}
    good = [key for key in stage.objects() if "layer=good" in key]
    client.delete_object(Bucket=bucket, Key=good[0])
    client.put_object(Bucket=bucket, Key=good[1], Body=b"other")
    for key in keys.values():
        client.delete_object(Bucket=bucket, Key=key)
    assert not stage.is_exact
    assert stage.sync().sent == 0
    today = datetime.now(UTC).date()
    assert outbox.again(stage.box, today, today) == 5
    assert state(stage, files[0]) == "predicted"
    done = stage.sync()
    assert (done.sent, done.errors) == (5, [])
    assert stage.is_exact
    assert [state(stage, number) for number in files] == ["synced"] * 3


def test_what_is_right_in_the_bucket_is_not_sent_again(stage: Stage, proxy: Proxy) -> None:
    stage.file()
    stage.sync()
    outbox.again(stage.box, datetime.min.date(), datetime.max.date())
    proxy.got.clear()
    assert stage.sync().sent == 1
    assert proxy.count("PUT") == 0


def test_what_left_the_box_is_confirmed_by_the_bucket_alone(stage: Stage, large: bytes) -> None:
    stage.file(large)
    stage.sync()
    (path,) = (stage.settings.data_dir / "good_data").rglob("*.parquet")
    path.unlink()
    outbox.again(stage.box, datetime.min.date(), datetime.max.date())
    assert stage.sync().sent == 1
    (key,) = stage.objects()
    stage.store.client.delete_object(Bucket=stage.settings.s3_bucket, Key=key)
    outbox.again(stage.box, datetime.min.date(), datetime.max.date())
    done = stage.sync()
    assert "is not on this box any more, and not in the bucket" in done.errors[0]
    assert stage.waiting() == 1


def test_a_file_that_the_disk_changed_is_not_sent(stage: Stage, proxy: Proxy) -> None:
    stage.file(b"good rows")
    proxy.mood = "500"
    with pytest.raises(Exception, match="InternalError"):
        stage.sync()
    (path,) = (stage.settings.data_dir / "good_data").rglob("*.parquet")
    path.write_bytes(b"good r0ws")
    proxy.well()
    stage.hurry()
    assert "is not what it was" in stage.sync().errors[0]
    assert stage.objects() == {}


def test_another_bucket_takes_what_waits_for_the_old_one(stage: Stage, proxy: Proxy, large: bytes) -> None:
    stage.file(large)
    proxy.mood, proxy.meant = "500", lambda request: "partNumber=2" in request.query
    with pytest.raises(Exception, match="InternalError"):
        stage.sync()
    proxy.well()
    stage.hurry()
    other = stage.having(s3_bucket=stage.store.bucket())
    assert other.sync().sent == 1
    assert {made.digest_of(data) for data in other.objects().values()} == {made.digest_of(large)}


def test_a_clock_that_was_set_back_keeps_nothing_waiting(stage: Stage) -> None:
    stage.file()
    with engines.transaction(stage.engine) as connection:
        outbox.store.gather(connection)
        connection.execute(text("UPDATE outbox SET next_try_at = clock_timestamp() + interval '10 years'"))
    assert stage.sync().sent == 1


def test_a_clock_that_leaps_about_changes_no_order_and_loses_nothing(stage: Stage) -> None:
    """Ten years ahead, ten back, and right again: what is copied is in the order of its numbers, each once."""
    now = datetime.now(UTC)
    for when in (now, now + timedelta(days=3652), now - timedelta(days=3652), now):
        file_id = stage.file(f"good at {when}".encode(), rows=2)
        with engines.transaction(stage.engine) as connection:
            (part,) = ledger.waiting_parts(connection, 10)
            rows = np.arange(1, 3, dtype=np.int32)
            first, _ = writer.write_predictions(
                connection, made.batch(stage.plant, 2, file_id=file_id, rows=rows), when
            )
            ledger.part_predicted(connection, part.id, 2, 0, stage.plant.model_id, first, first + 1)
    stage.sync(flush=True)
    assert stage.is_exact
    assert stage.waiting() == 0
    assert {state for (state,) in stage.rows("SELECT state FROM file")} == {"synced"}
    days = [day for (day,) in stage.rows("SELECT day FROM outbox WHERE layer = 'predictions' ORDER BY day")]
    assert [day.year for day in days] == [now.year - 10, now.year, now.year + 10]
    copied = [
        number
        for key, data in stage.objects().items()
        if "layer=predictions" in key
        for number in pl.read_parquet(io.BytesIO(data))["id"].to_list()
    ]
    assert sorted(copied) == [number for (number,) in stage.rows("SELECT id FROM prediction ORDER BY id")]
    with engines.transaction(stage.engine) as connection:
        listed = [row["id"] for row in queries.predictions(connection, queries.PredictionFilter(), limit=10)]
    assert listed == sorted(copied, reverse=True), "the newest is who came last, whatever the clock said"
    maintain.remove_old_predictions(stage.box)
    assert sorted(copied) == [number for (number,) in stage.rows("SELECT id FROM prediction ORDER BY id")]


def test_files_made_for_the_bucket_that_nobody_knows_are_removed(stage: Stage) -> None:
    stage.settings.outbox.mkdir(parents=True)
    for name in ("predictions-1-2-milling-1-2026-11-01.parquet", ".outcomes-1.parquet.ab12.tmp", "audit.key"):
        (stage.settings.outbox / name).write_text("x")
    stage.sync()
    assert stage.made_here() == ["audit.key"]


def test_a_key_with_kms_is_asked_for_it(stage: Stage) -> None:
    stage.file()
    stage.having(s3_kms_key="alias/plant").sync()
    (key,) = stage.objects()
    head = stage.store.client.head_object(Bucket=stage.settings.s3_bucket, Key=key)
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/plant")


@pytest.mark.parametrize("keys", ["only-one", "a:b:c:d", ":"])
def test_keys_that_cannot_be_read_are_said_without_being_shown(stage: Stage, keys: str) -> None:
    stage.file()
    settings = Settings(**(stage.settings.model_dump() | {"s3_keys": keys}))
    with pytest.raises(SettingError, match="s3_keys cannot be read") as caught:
        outbox.once(stage.having(s3_keys=settings.s3_keys).box)
    assert "only-one" not in str(caught.value)


@pytest.mark.parametrize("size", [0, 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 11 * MIB])
def test_parts_are_cut_where_the_store_wants_them(tmp_path: Path, size: int) -> None:
    data = bytes(size)
    (tmp_path / "zeros").write_bytes(data)
    digest = outbox_send.digest_of(tmp_path / "zeros", 5 * MIB)
    assert digest is not None
    cut = [data[start : start + 5 * MIB] for start in range(0, size, 5 * MIB)] or [b""]
    assert (digest.size, digest.sha256) == (size, hashlib.sha256(data).digest())
    assert digest.parts == [hashlib.sha256(part).digest() for part in cut]
    assert digest.md5s == [hashlib.md5(part).digest() for part in cut]
    assert outbox_send.digest_of(tmp_path / "absent", 5 * MIB) is None
