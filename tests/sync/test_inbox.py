"""Files the other way: from the bucket into the drop folder, whole, once, and only where that was asked for."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from appliance import inbox as inbox_module
from appliance.errors import BucketTrouble, DiskTrouble
from appliance.names import name_fault
from tests.sync.conftest import MIB, Stage
from tests.sync.proxy import Proxy


@pytest.fixture
def inbox(stage: Stage) -> Stage:
    """A box with a drop folder of mills, that takes files from its bucket."""
    (stage.settings.raw / "milling").mkdir(parents=True)
    return stage.having(s3_inbox=True)


def put(stage: Stage, key: str, data: bytes = b"a,b\n1,2\n") -> None:
    stage.store.client.put_object(Bucket=stage.settings.s3_bucket, Key=key, Body=data)


def dropped(stage: Stage) -> dict[str, bytes]:
    raw = stage.settings.raw
    return {str(path.relative_to(raw)): path.read_bytes() for path in sorted(raw.rglob("*")) if path.is_file()}


def test_files_come_once_under_their_names_and_stay_in_the_bucket(inbox: Stage) -> None:
    put(inbox, "incoming/milling/a.csv", b"a")
    put(inbox, "incoming/milling/mill-3/M\u00fchle.csv", b"b")
    put(inbox, "incoming/milling/mill-3/", b"")
    put(inbox, "incoming/lathe/c.csv", b"c")
    assert inbox.sync().taken == 2
    assert dropped(inbox) == {"milling/a.csv": b"a", "milling/mill-3/M\u00fchle.csv": b"b"}
    assert len(inbox.objects()) == 4
    for path in [inbox.settings.raw / name for name in dropped(inbox)]:
        path.unlink()
    assert (inbox.sync().taken, dropped(inbox)) == (0, {}), "what was taken in is not brought again"


def test_off_unless_set(inbox: Stage) -> None:
    put(inbox, "incoming/milling/a.csv")
    assert inbox.having(s3_inbox=False).sync().taken == 0
    assert dropped(inbox) == {}


def test_an_object_that_is_put_anew_is_a_new_file(inbox: Stage) -> None:
    put(inbox, "incoming/milling/a.csv", b"a")
    inbox.sync()
    put(inbox, "incoming/milling/a.csv", b"other")
    assert inbox.sync().taken == 1
    (first, second) = dropped(inbox).values()
    assert {first, second} == {b"a", b"other"}, "neither takes the place of the other"


@pytest.mark.parametrize("name", ["x" * 196 + ".csv", "ä" * 98 + ".csv", "a." + "x" * 190, "a.csv"])
def test_the_name_of_a_further_version_can_be_taken(name: str) -> None:
    for etag in ("0123456789abcdef", "../../etc/passwd", "a\nb", ""):
        other = inbox_module._another(Path(name), etag)
        assert other != name
        assert other.endswith(".csv") == name.endswith(".csv")
        assert name_fault(other) is None
        assert "/" not in other


def test_a_prefix_stands_before_the_inbox_too(inbox: Stage) -> None:
    put(inbox, "plants/incoming/milling/a.csv")
    put(inbox, "incoming/milling/b.csv")
    assert inbox.having(s3_prefix="plants/").sync().taken == 1
    assert list(dropped(inbox)) == ["milling/a.csv"]


@pytest.mark.parametrize(
    "below",
    [
        "a/b/c.csv",
        ".hidden.csv",
        "../up.csv",
        "a//b.csv",
        "demo-mill/a.csv",
        "x" * 201 + ".csv",
        "a\u202ecsv",
        "~$a.csv",
    ],
)
def test_what_cannot_be_a_dropped_file_is_put_on_record_once(inbox: Stage, below: str, tmp_path: Path) -> None:
    put(inbox, f"incoming/milling/{below}")
    for _ in range(2):
        assert inbox.sync().taken == 0
    assert dropped(inbox) == {}
    assert inbox.rows("SELECT count(*) FROM event WHERE kind = 'inbox_refused'") == [(1,)]


def test_a_file_above_the_limit_is_not_taken(inbox: Stage) -> None:
    put(inbox, "incoming/milling/a.csv", bytes((1 << 20) + 1))
    assert inbox.having(file_limit_mb=1).sync().taken == 0
    ((why,),) = inbox.rows("SELECT refusal FROM inbox")
    assert "larger than 1 MiB" in why


def test_a_file_that_broke_off_leaves_nothing_and_comes_the_next_time(inbox: Stage, proxy: Proxy) -> None:
    put(inbox, "incoming/milling/a.csv", bytes(12 * MIB))
    proxy.mood, proxy.meant = "unanswered", lambda request: request.path.endswith("a.csv")
    with pytest.raises(BucketTrouble):
        inbox.sync()
    assert dropped(inbox) == {}
    proxy.well()
    assert inbox.sync().taken == 1
    assert dropped(inbox) == {"milling/a.csv": bytes(12 * MIB)}


def test_a_link_in_the_drop_folder_leads_nowhere(inbox: Stage, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (inbox.settings.raw / "milling" / "mill-1").symlink_to(tmp_path / "elsewhere")
    put(inbox, "incoming/milling/mill-1/a.csv")
    put(inbox, "incoming/milling/b.csv", b"b")
    assert inbox.sync().taken == 1
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert dropped(inbox) == {"milling/b.csv": b"b"}
    assert inbox.rows("SELECT refusal FROM inbox WHERE path IS NULL") == [
        ("Its folder in the drop folder is a link, or a file.",)
    ]


def test_a_full_disk_takes_nothing_and_says_so(inbox: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    put(inbox, "incoming/milling/a.csv", b"a")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(inbox_module.os, "fsync", full)
        with pytest.raises(DiskTrouble, match="The disk is full"):
            inbox.sync()
    assert dropped(inbox) == {}
    assert inbox.sync().taken == 1
