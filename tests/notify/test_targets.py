"""The setting that holds secrets: what each line means, and that none of it is ever shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import notify, notify_targets
from appliance.notify_targets import Target
from appliance.settings import Settings
from tests.notify.conftest import Plant
from tests.notify.receivers import Webhook

# As docs/notify.md writes them: every usual kind, with pieces that must never be seen.
SECRET = "hunter2secretTokenXYZ"
URLS = [
    f"workflows://prod-01.westeurope.logic.example:443/0123456789abcdef0123456789abcdef/{SECRET}",
    f"https://prod-01.westeurope.logic.azure.com/workflows/0123456789abcdef0123456789abcdef/triggers/manual/paths/invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig={SECRET}",
    f"slack://T00000000/B00000000/{SECRET}Tok/#night",
    f"https://hooks.slack.com/services/T00000000/B00000000/{SECRET}Tok",
    f"mailto://box:{SECRET}@mail.example.com?from=box@example.com&to=night@example.com",
    f"mailtos://box:{SECRET}@mail.example.com:465?mode=ssl&from=box@example.com&to=night@example.com",
    f"mailtos://box%40example.com:{SECRET}@mail.example.com?to=night@example.com,day@example.com",
    f"json://user:{SECRET}@127.0.0.1:8080/{SECRET}?+Authorization={SECRET}",
    f"jsons://hooks.example.com/{SECRET}",
    f"xml://host.example/{SECRET}",
    f"form://host.example/{SECRET}",
    f"tgram://123456789:AAE_{SECRET}_hijklmnop/12315544",
    f"ntfy://{SECRET}",
    f"ntfys://{SECRET}@ntfy.example.com/night",
    f"discord://1234567890/{SECRET}XXXXXXXXXXXXXXXX",
    f"gotify://gotify.example.com/A{SECRET[:14]}",
    f"matrix://box:{SECRET}@matrix.example.com/#night",
    f"mmost://chat.example.com/{SECRET[:17]}AbCdEfGh",
    f"rocket://box:{SECRET}@chat.example.com/#night",
    f"pover://{'u' * 30}@{'t' * 30}",
    "signal://127.0.0.1:8080/+15555550100/+15555550101",
    f"twilio://AC{'a' * 32}:{'b' * 32}@+15555550100/+15555550101",
    f"gchat://workspace/{SECRET}/token{SECRET}",
    f"pagerduty://{SECRET}@{SECRET}",
    f"apprise://apprise.example.com/{SECRET}",
    f"opsgenie://{SECRET}",
    f"zulip://box@example/{'a' * 32}/night",
]
HOSTS = [
    "prod-01.westeurope.logic.example", "prod-01.westeurope.logic.azure.com", "hooks.slack.com", "mail.example.com",
    "127.0.0.1", "hooks.example.com", "host.example", "gotify.example.com", "chat.example.com", "apprise.example.com",
]  # fmt: skip
WITH_HOST = ["workflows", "mailto", "mailtos", "json", "jsons", "xml", "form", "gotify", "mmost", "signal", "apprise"]


def read(*lines: str) -> tuple[list[Target], list[str]]:
    targets, wrong = notify_targets.read(Settings(notify_targets="\n".join(lines)))
    return targets, [str(error) for error in wrong]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("before", ["", "alarm=", " quality , box =  "])
def test_every_usual_kind_can_be_written(url: str, before: str) -> None:
    targets, wrong = read(f"  {before}{url}  ")
    assert wrong == []
    assert [target.url for target in targets] == [url]


def test_apprise_takes_each_of_them(warm: object) -> None:
    assert [str(error) for error in notify.look(Settings(notify_targets="\n".join(URLS)))] == []


@pytest.mark.parametrize("url", URLS)
def test_a_label_shows_no_secret(url: str) -> None:
    [target] = read(url)[0]
    shown = re.fullmatch(r"([a-z]+)://(\S*) \[[0-9a-f]{4}\]", target.label)
    assert shown is not None
    assert shown[1] == url.partition("://")[0]
    assert shown[2] in ("", *HOSTS)
    assert bool(shown[2]) == (shown[1] in ("https", *WITH_HOST))
    assert SECRET not in repr(target)
    assert url not in repr(target)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=30))
def test_no_password_comes_into_a_label_however_it_is_written(password: str) -> None:
    """Also where somebody forgot to write '@', '/', '?' and '#' as %40 and so on."""
    for scheme in ("mailto", "json", "slack", "tgram"):
        [target] = read(f"{scheme}://user:{password}@mail.example.com/path?to=night@example.com")[0]
        host = target.label.partition("://")[2].partition(" ")[0]
        assert host in ("", "mail.example.com")


@pytest.mark.parametrize("password", ["pa/ss", "pa?ss", "pa#ss", "/", "1/2.de"])
def test_a_user_is_not_taken_for_a_host(password: str) -> None:
    [target] = read(f"mailto://first.last:{password}@mail.example.com")[0]
    assert target.label.startswith("mailto:// [")


def test_wishes_comments_and_repetitions() -> None:
    targets, wrong = read(
        "# all of the night shift",
        "json://one.example/?a=b=c",
        "",
        "alarm=json://two.example/?x=alarm=1",
        "BOX, Quality=json://three.example",
        "box=json://two.example/?x=alarm=1",
    )
    assert wrong == []
    assert [(target.line, sorted(target.wishes)) for target in targets] == [
        (2, ["alarm", "box", "quality"]),
        (4, ["alarm", "box"]),
        (5, ["box", "quality"]),
    ]
    assert len({target.digest for target in targets}) == 3


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"mailto:/box:{SECRET}@mail.example.com", "Line 2 of notify_targets: it is no address"),
        (f"{SECRET}", "Line 2 of notify_targets: it is no address"),
        (f"alam=slack://{SECRET}", "Line 2 of notify_targets (slack://): before '='"),
        (f"{SECRET}=slack://x/y", "Line 2 of notify_targets (slack://): before '='"),
        ("=slack://x/y", "before '='"),
        ("alarm=", "it is no address"),
        ("slack://", "it is no address"),
    ],
)
def test_a_wrong_line_is_named_by_number_and_scheme(line: str, said: str) -> None:
    targets, wrong = read("json://one.example", line, "json://two.example")
    assert len(targets) == 2
    assert [said in error for error in wrong] == [True]
    assert SECRET not in wrong[0]
    assert "docs/notify.md" in wrong[0]


@given(st.text(max_size=60))
def test_any_text_is_read_without_an_accident(text: str) -> None:
    targets, wrong = read(text)
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(targets) + len(wrong) <= len(lines)
    assert bool(lines) == bool(targets or wrong)


def test_what_only_apprise_can_tell_is_told_by_line() -> None:
    lines = [
        "json://fine.example",
        f"slak://T1/{SECRET}",
        f"https://example.com/{SECRET}",
        f"slack://{SECRET}",
        f"mqtts://user:{SECRET}@mqtt.example/topic",
    ]
    said = [str(error) for error in notify.look(Settings(notify_targets="\n".join(lines)))]
    assert len(said) == 4
    by_line = {int(re.match(r"Line (\d)", one)[1]): one for one in said}  # type: ignore[index]
    assert "slak://): there is no such service; usual are workflows://" in by_line[2]
    assert "written json:// or jsons://" in by_line[3]
    assert "something is missing" in by_line[4]
    assert "library" in by_line[5]
    assert SECRET not in "".join(said)


def test_neither_database_nor_answers_hold_a_piece_of_the_address(plant: Plant, hook: Webhook) -> None:
    """Whatever goes wrong with it."""
    plant.alarm()
    urls = [
        f"json://user:{SECRET}@127.0.0.1:9/{SECRET}?+Authorization={SECRET}",
        f"slack://{SECRET}",
        hook.url(f"/{SECRET}"),
    ]
    hook.mood = "500"
    done = plant.send(*urls)
    assert done.failed == 3
    assert SECRET not in json.dumps(done.as_dict())
    for table in ("notice", "delivery", "event"):
        assert SECRET not in str(plant.rows(f"SELECT * FROM {table}"))


def test_the_page_shows_addresses_that_can_be_used() -> None:
    page = (Path(__file__).parents[2] / "docs" / "notify.md").read_text(encoding="utf-8")
    shown = [line for block in re.findall(r"```text\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    assert len(shown) >= 8
    assert [str(error) for error in notify.look(Settings(notify_targets="\n".join(shown)))] == []
