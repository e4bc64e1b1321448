"""What goes wrong on the road, and that nothing is lost by it."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from appliance.api.app import create_app
from appliance.errors import ApiAway
from appliance.store import ledger
from tests.api.conftest import running
from tests.road.conftest import Road


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("empty.csv", b"", "empty"),
        ("bomb.csv", gzip.compress(b"0" * 100_000, mtime=0), "compressed"),
        ("nul.csv", b"UDI,Product ID\n1,\0\n", "nul_bytes"),
        ("other.csv", b"some,other,table\n1,2,3\n", "header"),
        ("picture.png", b"\x89PNG", "format"),
    ],
)
def test_a_hopeless_file_is_kept_whole_with_its_reason(
    road: Road, mill: bytes, name: str, data: bytes, reason: str
) -> None:
    road.drop("milling", name, data, "mill-1")
    road.drop("milling", "zz.csv", mill, "mill-1")
    done = road.ingest()
    assert (done.quarantined, done.files) == (1, 1)
    [file] = road.rows("SELECT * FROM file WHERE state = 'quarantined'")
    assert (file["reason"], file["criticality"], file["rows_in"]) == (reason, "high", 0)
    assert (road.settings.data_dir / file["quarantine_path"]).read_bytes() == data
    assert road.waiting() == []
    assert road.broken_promises() == []


def test_links_and_pipes_are_never_opened(road: Road, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("hush")
    folder = road.settings.raw / "milling" / "mill-1"
    folder.mkdir(parents=True)
    (folder / "link.csv").symlink_to(secret)
    os.mkfifo(folder / "pipe.csv")
    assert road.ingest().quarantined == 2
    reasons = {row["reason"] for row in road.rows("SELECT reason FROM file")}
    assert reasons == {"symlink", "not_regular"}
    assert secret.read_text() == "hush"
    assert road.waiting() == []


def test_a_half_written_file_is_left_alone(road: Road, mill: bytes) -> None:
    path = road.drop("milling", "slow.csv", mill[:1000], "mill-1")
    with path.open("ab") as writer:
        assert road.ingest().left == 1
        writer.write(mill[1000:])
    assert road.ingest().rows_good == 160


def test_without_a_model_files_wait(road: Road, mill: bytes) -> None:
    (road.settings.models / "milling" / "active").unlink()
    road.drop("milling", "a.csv", mill, "mill-1")
    assert road.ingest().files == 0
    assert road.waiting() == ["a.csv"]


def test_a_spoiled_bundle_is_not_trusted_with_files(road: Road, mill: bytes) -> None:
    active = (road.settings.models / "milling" / "active").read_text().strip()
    profile = road.settings.models / "milling" / active / "profile.toml"
    profile.write_text(profile.read_text().replace("maximum = 320", "maximum = 999"))
    road.drop("milling", "a.csv", mill, "mill-1")
    assert road.ingest().files == 0
    assert road.waiting() == ["a.csv"]


def test_predictions_catch_up_when_the_api_comes_back(road: Road, mill: bytes) -> None:
    road.drop("milling", "a.csv", mill, "mill-1")
    road.ingest()
    with pytest.raises(ApiAway):
        road.predict()
    assert {part["tries"] for part in road.rows("SELECT tries FROM part")} == {0}, (
        "the API's absence is no fault of a part"
    )
    assert road.settings.api_socket is not None
    with running(create_app(road.settings, road.engine), road.settings.api_socket):
        assert road.predict().rows == 160
    assert road.broken_promises() == []


@pytest.mark.usefixtures("api")
def test_a_part_that_cannot_be_scored_is_given_up_and_the_others_go_on(road: Road, mill: bytes) -> None:
    road.drop("milling", "a.csv", mill, "mill-1")
    road.drop("milling", "b.csv", mill + b"\n", "mill-2")
    road.ingest()
    broken = road.settings.data_dir / road.rows("SELECT good_path FROM file ORDER BY id LIMIT 1")[0]["good_path"]
    broken.write_bytes(b"no parquet")
    done = road.predict()
    assert (done.rows, done.failed) == (160, 3)
    for _ in range(4):
        road.rows("UPDATE part SET next_try_at = clock_timestamp() WHERE state = 'waiting' RETURNING id")
        road.predict()
    states = road.rows("SELECT state, min(tries) AS tries FROM part GROUP BY 1 ORDER BY 1")
    assert states == [{"state": "failed", "tries": 5}, {"state": "predicted", "tries": 0}]
    assert road.predict().parts == 0
    assert len(road.rows("SELECT * FROM event WHERE kind = 'part_failed'")) == 3


def test_a_claim_whose_file_went_away_is_closed(road: Road, mill: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    path = road.drop("milling", "a.csv", mill, "mill-1")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "ingested", die)
        with pytest.raises(KeyboardInterrupt):
            road.ingest()
    assert road.rows("SELECT state FROM arrival") == [{"state": "claimed"}]
    path.unlink()
    road.ingest()
    assert road.rows("SELECT state FROM arrival") == [{"state": "abandoned"}]


def test_a_file_that_kills_its_reader_comes_last(road: Road, mill: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pass that is killed over and over by one file still takes all the others."""
    poison = road.drop("milling", "a.csv", mill, "mill-1")
    os.utime(poison, (1, 1))
    taken: list[str] = []
    original = ledger.ingested

    def read(connection: object, arrival: object, *more: object) -> None:
        name = arrival.name  # type: ignore[attr-defined]
        if name == "a.csv":
            raise KeyboardInterrupt
        taken.append(name)
        original(connection, arrival, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(ledger, "ingested", read)
    with pytest.raises(KeyboardInterrupt):
        road.ingest()
    road.drop("milling", "b.csv", mill + b"\n", "mill-1")
    with pytest.raises(KeyboardInterrupt):
        road.ingest()
    assert taken == ["b.csv"]
