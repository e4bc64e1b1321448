"""Networks and stores that misbehave: nothing is called copied that is not, and the next pass goes on."""

from __future__ import annotations

import pytest

from appliance import bucket as buckets
from appliance import outbox
from appliance.errors import BucketTrouble
from appliance.store import engine as engines
from appliance.store import outbox as store
from tests.sync.conftest import MIB, Stage
from tests.sync.proxy import Mood, Proxy

# What a store says to all alike, and the reason that it becomes.
STORE_WIDE: list[tuple[Mood, str]] = [
    ("500", "away"), ("503", "away"), ("cut", "away"), ("unanswered", "away"), ("revoked", "denied"), ("full", "full"),
]  # fmt: skip


@pytest.mark.parametrize(("mood", "reason"), STORE_WIDE)
@pytest.mark.parametrize("which", ["PUT", "HEAD"])
def test_a_store_that_is_away_or_refuses_ends_the_pass_and_the_next_goes_on(
    stage: Stage, proxy: Proxy, mood: Mood, reason: str, which: str
) -> None:
    for number in range(3):
        stage.file(f"good {number}".encode())
    proxy.mood, proxy.meant = mood, lambda request: request.method == which
    with pytest.raises(BucketTrouble) as caught:
        stage.sync()
    assert caught.value.reason == reason
    assert proxy.count(which) == 1, "what is wrong with the store is not tried again for every object"
    assert stage.waiting() == 3
    ((tries, error),) = stage.rows("SELECT tries, error FROM outbox WHERE tries > 0")
    assert (tries, error) == (1, str(caught.value))
    proxy.well()
    stage.hurry()
    done = stage.sync()
    assert (done.sent, done.errors) == (3, [])
    assert stage.is_exact


@pytest.mark.parametrize("mood", [mood for mood, _ in STORE_WIDE])
@pytest.mark.parametrize("step", ["uploads=", "partNumber=1", "partNumber=2", "partNumber=3", "POST uploadId="])
def test_an_upload_in_parts_that_broke_off_anywhere_ends_whole(
    stage: Stage, proxy: Proxy, large: bytes, mood: Mood, step: str
) -> None:
    stage.file(large)
    method, _, query = step.rpartition(" ")
    proxy.mood = mood
    proxy.meant = lambda request: query.rstrip("=") in request.query and request.method == (method or request.method)
    with pytest.raises(BucketTrouble):
        stage.sync()
    proxy.well()
    stage.hurry()
    assert stage.sync().sent == 1
    assert stage.is_exact


@pytest.mark.parametrize("size", [9, 12 * MIB])
def test_bytes_that_changed_on_their_way_are_sent_again(stage: Stage, proxy: Proxy, large: bytes, size: int) -> None:
    stage.file(large[:size])
    stage.file(b"another")
    proxy.mood = "corrupt"
    proxy.meant = lambda request: request.method == "PUT" and (size < 100 or request.is_part)
    first = stage.sync()
    assert first.failed >= 1
    assert "other bytes" in first.errors[0].lower()
    assert stage.waiting() == first.failed
    proxy.well()
    stage.hurry()
    stage.sync()
    assert stage.waiting() == 0
    assert stage.is_exact


@pytest.mark.parametrize("size", [0, 9, 12 * MIB])
def test_a_checksum_that_the_store_tells_is_enough(stage: Stage, proxy: Proxy, large: bytes, size: int) -> None:
    stage.file(large[:size] or b" ")
    assert stage.sync().sent == 1
    assert proxy.count("GET") == (1 if size > MIB else 0), (
        "only uploads in parts that may have been left over are listed"
    )
    assert stage.rows("SELECT proof FROM outbox") == [("checksum",)]


@pytest.mark.parametrize("mood", ["silent", "lie"])
@pytest.mark.parametrize("size", [9, 12 * MIB])
def test_a_store_that_tells_no_checksum_or_a_wrong_one_has_to_show_what_it_has(
    stage: Stage, proxy: Proxy, large: bytes, size: int, mood: Mood
) -> None:
    stage.file(large[:size])
    proxy.mood = mood
    assert stage.sync().sent == 1
    assert proxy.count("GET") >= 1
    assert stage.rows("SELECT proof FROM outbox") == [("read",)]
    assert stage.is_exact


def test_what_a_silent_store_shows_is_compared(stage: Stage, proxy: Proxy) -> None:
    stage.file(b"good rows")
    proxy.mood = "silent"
    stage.sync()
    (key,) = stage.objects()
    stage.change("UPDATE outbox SET verified_at = NULL, proof = NULL")
    stage.store.client.put_object(Bucket=stage.settings.s3_bucket, Key=key, Body=b"good r0ws")
    proxy.got.clear()
    assert stage.sync().sent == 1
    assert proxy.count("PUT") == 1, "other bytes of the same length are seen, and replaced"
    assert stage.is_exact


def test_a_slow_store_is_waited_for(stage: Stage, proxy: Proxy) -> None:
    stage.file()
    proxy.mood = "slow"
    assert stage.sync().sent == 1


def test_a_store_that_never_answers_is_given_up_for_now(
    stage: Stage, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "ANSWER_SECONDS", 0.3)
    stage.file()
    proxy.mood = "hang"
    with pytest.raises(BucketTrouble, match="cannot be reached"):
        stage.sync()
    proxy.well()
    stage.hurry()
    assert stage.sync().sent == 1
    assert stage.is_exact


def test_nobody_at_the_address_is_one_sentence(stage: Stage) -> None:
    stage.file()
    with pytest.raises(BucketTrouble, match="cannot be reached") as caught:
        stage.having(s3_endpoint="http://127.0.0.1:9").sync()
    assert "\n" not in str(caught.value)


def test_a_bucket_that_is_not_there_is_said(stage: Stage) -> None:
    stage.file()
    with pytest.raises(BucketTrouble, match="no such bucket"):
        stage.having(s3_bucket="absent-bucket").sync()


def test_no_keys_are_said(stage: Stage) -> None:
    stage.file()
    with pytest.raises(BucketTrouble, match="no keys"):
        stage.having(s3_keys=None).sync()


def test_one_object_that_fails_holds_up_no_other(stage: Stage, proxy: Proxy) -> None:
    files = [stage.file(f"good {number}".encode()) for number in range(3)]
    proxy.mood, proxy.meant = "corrupt", lambda request: f"/{files[0]}-" in request.path
    done = stage.sync()
    assert (done.sent, done.failed) == (2, 1)
    proxy.got.clear()
    assert stage.sync().sent == 0
    assert proxy.got == [], "its pause is not over"


def test_whoever_mended_it_need_not_wait_for_the_next_try(stage: Stage, proxy: Proxy) -> None:
    stage.file()
    proxy.mood = "revoked"
    with pytest.raises(BucketTrouble):
        stage.sync()
    proxy.well()
    assert stage.sync().sent == 0, "its pause is not over"
    assert stage.sync(now=True).sent == 1
    assert stage.is_exact


def test_how_much_waits_is_known_before_anything_was_sent(stage: Stage, proxy: Proxy) -> None:
    for number in range(3):
        stage.file(f"good {number}".encode(), b"bad")
    stage.change("UPDATE file SET good_path = 'good_data/absent.parquet' WHERE id = (SELECT max(id) FROM file)")
    proxy.mood = "cut"
    with pytest.raises(BucketTrouble):
        stage.sync()
    with engines.transaction(stage.engine) as connection:
        seen = store.standing(connection)
    assert (seen.waiting, seen.waiting_bytes) == (6, 2 * len("good 0") + 3 * len("bad"))


def test_an_object_that_breaks_the_store_each_time_makes_way(stage: Stage, proxy: Proxy) -> None:
    files = [stage.file(f"good {number}".encode()) for number in range(3)]
    proxy.mood, proxy.meant = "500", lambda request: f"/{files[0]}-" in request.path
    with pytest.raises(BucketTrouble):
        stage.sync()
    assert stage.sync().sent == 2


def test_pauses_grow_and_are_never_the_same(stage: Stage, proxy: Proxy) -> None:
    from appliance import pace

    longest = [max(pace.pause(failures) for _ in range(50)) for failures in (1, 2, 3, 30)]
    assert longest == sorted(longest)
    assert longest[-1] <= pace.LONGEST_PAUSE_SECONDS
    assert len({pace.pause(1) for _ in range(5)}) == 5


def test_failures_in_a_row_are_told_once_and_so_is_their_end(stage: Stage, proxy: Proxy) -> None:
    stage.file()
    proxy.mood = "500"
    for _ in range(5):
        with pytest.raises(BucketTrouble):
            stage.sync()
        stage.hurry()
    kinds = stage.rows("SELECT kind FROM event WHERE details ->> 'run' = 'sync' ORDER BY id")
    assert kinds == [("run_failed",)]
    proxy.well()
    stage.sync()
    kinds = stage.rows("SELECT kind FROM event WHERE details ->> 'run' = 'sync' ORDER BY id")
    assert kinds == [("run_failed",), ("run_recovered",)]


def test_watching_goes_on_through_trouble_and_waits_longer_each_time(
    stage: Stage, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.file()
    proxy.mood = "500"
    pauses: list[float] = []
    said: list[str] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        stage.hurry()
        if len(pauses) == 5:
            proxy.well()
        if len(pauses) == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(outbox.time, "sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        outbox.watch(stage.box, said.append)
    assert [("cannot be reached" in one) for one in said] == [True] * 5 + [False]
    assert pauses[4] > pauses[0]
    assert "1 objects with" in said[-1]
    assert stage.is_exact


def test_rows_that_cannot_be_made_into_files_keep_no_others_here(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.file()
    stage.predict()

    def broken(*_: object, **__: object) -> int:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(outbox.outbox_export, "predictions", broken)
        done = stage.sync()
    assert (done.sent, done.failed) == (1, 1)
    assert done.errors == ["Predictions could not be made into files (ZeroDivisionError)."]
    assert stage.sync().sent == 1
    assert stage.is_exact


def test_secrets_are_in_no_error_and_no_row(stage: Stage, proxy: Proxy) -> None:
    stage.file()
    proxy.mood = "revoked"
    with pytest.raises(BucketTrouble) as caught:
        stage.sync()
    said = f"{caught.value} {stage.rows('SELECT * FROM outbox')} {stage.rows('SELECT * FROM run')}"
    assert "not-a-secret" not in said
    assert "AKIAEXAMPLE" not in said
