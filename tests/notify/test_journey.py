"""From files in a drop folder to messages at a receiver, over a real box."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from appliance import notify
from appliance.notify import Sent
from appliance.settings import Settings
from tests.api.conftest import browser, make_token
from tests.notify.receivers import Webhook
from tests.road.conftest import Road
from tests.road.test_machines import BAD, GOOD, _mill

pytestmark = pytest.mark.usefixtures("api")


def tell(road: Road, hook: Webhook) -> Sent:
    more = {"notify_targets": hook.url(), "public_url": "http://box.example", "site": "north"}
    return notify.send(Settings(**road.settings.model_dump() | more), road.engine)


def follow(road: Road, hook: Webhook) -> httpx.Response:
    """What the last message's link shows to somebody who may look."""
    link = urlsplit(hook.got[-1]["message"].splitlines()[-1])
    assert link.netloc == "box.example"
    assert isinstance(road.settings.api_socket, Path)
    token = make_token(road.engine, "viewer", name=f"reader {len(hook.got)}")
    with browser(road.settings.api_socket, token) as client:
        return client.get(link.path)


def test_a_bad_file_is_told_with_a_link_to_its_report(road: Road, hook: Webhook, mill: bytes) -> None:
    road.drop("milling", "fine.csv", mill, "mill-1")
    lines = mill.decode().splitlines(keepends=True)
    spoilt = [re.sub(r",[^,]*,", ",x,", line, count=1) for line in lines[1:]]
    half = "".join([lines[0], *(line.replace(",", ",,", 1) for line in spoilt[:20]), *lines[1:11]])
    road.drop("milling", "[bad](http:) @all.csv", half.encode(), "mill-2")
    road.ingest()
    assert tell(road, hook).messages == 1
    [message] = hook.got
    assert message["title"].startswith("north: 20 of 30 rows are bad in (bad)(http")
    assert "＠all" in message["title"]
    assert "mill-2, milling" in message["message"]
    page = follow(road, hook)
    assert page.status_code == 200
    assert "text/html" in page.headers["content-type"]
    assert tell(road, hook).messages == 0


def test_a_refused_file_is_told_once_whatever_is_repeated(road: Road, hook: Webhook) -> None:
    road.drop("milling", "empty.csv", b"", "mill-1")
    road.ingest()
    road.ingest()
    tell(road, hook)
    tell(road, hook)
    assert hook.titles == ["north: file empty.csv was refused"]
    assert follow(road, hook).status_code == 200


def test_an_episode_is_one_message(road: Road, hook: Webhook) -> None:
    for number, rows in enumerate([[BAD] * 4, [BAD] * 30, [GOOD, BAD] * 5, [BAD] * 10], start=1):
        road.drop("milling", f"{number}.csv", _mill(*rows, first=100 * number), "mill-1")
        road.ingest()
        road.predict()
        tell(road, hook)
    assert hook.titles == ["north: mill-1 is heading for failure"]
    assert "Strain 12,000 min N.m, limit 11,000" in hook.got[0]["message"]
    assert "What to do: Lower the torque" in hook.got[0]["message"]
    assert follow(road, hook).json()["machine"] == "mill-1"


def test_an_episode_that_is_over_before_anybody_was_told_says_so(road: Road, hook: Webhook) -> None:
    road.drop("milling", "1.csv", _mill(*[BAD] * 4, *[GOOD] * 20), "mill-1")
    road.ingest()
    road.predict()
    tell(road, hook)
    assert hook.titles == ["north: mill-1 was heading for failure, over"]
    assert "it runs calmly again" in hook.got[0]["message"]


def test_a_part_that_is_given_up_is_told(road: Road, hook: Webhook, mill: bytes) -> None:
    road.drop("milling", "a.csv", mill, "mill-1")
    road.ingest()
    [path] = (row["good_path"] for row in road.rows("SELECT good_path FROM file"))
    (road.settings.data_dir / path).write_bytes(b"no parquet")
    for _ in range(5):
        road.rows("UPDATE part SET next_try_at = clock_timestamp() WHERE state = 'waiting' RETURNING id")
        road.predict()
    tell(road, hook)
    assert set(hook.titles) == {"north: the box needs a look"}
    assert all("was given up after 5 tries" in one["message"] for one in hook.got)
    assert follow(road, hook).status_code == 200
