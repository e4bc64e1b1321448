"""From Grafana's webhook to a message: once an episode, with the rule's own words, through the box's own messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from sqlalchemy import Engine, text

from appliance import notify_words
from appliance.notify_causes import EventCause
from appliance.notify_words import Place
from appliance.store import drill_rows, notices
from appliance.store.engine import transaction
from grafana import alerts, contact
from tests.api.conftest import People
from tests.grafana.standin import interpolated

SINCE = "2026-03-01T08:00:00.123+01:00"


def alert(status: str = "firing", **more: Any) -> dict[str, Any]:
    """As Grafana sends it, with what we leave aside."""
    one = {
        "status": status,
        "labels": {
            "alertname": "Predictions are late",
            "rule": "appliance-lag",
            "profile": "milling",
            "severity": "critical",
        },
        "annotations": {
            "summary": "Good rows wait.",
            "description": "`appliance doctor` says why.",
            "runbook_url": "/d/x",
        },
        "startsAt": SINCE,
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": "c6eadffa33fcdf37",
        "generatorURL": "http://127.0.0.1:3000/alerting",
        "values": {"B": 1200, "C": 1},
    }
    return one | more


def body(*alerts: dict[str, Any]) -> dict[str, Any]:
    return {"receiver": "Appliance", "status": "firing", "orgId": 1, "alerts": list(alerts), "externalURL": "http://x/"}


@pytest.fixture
def grafana(people: People) -> httpx.Client:
    return people("operator")


def told(engine: Engine) -> list[EventCause]:
    with transaction(engine) as conn:
        ids = list(conn.execute(text("SELECT id FROM notice WHERE kind = 'event' ORDER BY id")).scalars())
        return [cause for cause in notices.causes(conn, ids).values() if isinstance(cause, EventCause)]


def test_an_episode_is_told_once_however_often_it_comes(grafana: httpx.Client, engine: Engine) -> None:
    assert grafana.post("/alerts", json=body(alert())).json() == {"told": 1, "over": 0, "known": 0}
    assert grafana.post("/alerts", json=body(alert(), alert())).json() == {"told": 0, "over": 0, "known": 2}
    other = alert(fingerprint="another", labels={"alertname": "Predictions are late", "profile": "pump"})
    assert grafana.post("/alerts", json=body(alert(), other)).json() == {"told": 1, "over": 0, "known": 1}
    assert len(told(engine)) == 2


def test_its_end_is_noted_and_the_next_episode_is_told_anew(grafana: httpx.Client, engine: Engine) -> None:
    assert grafana.post("/alerts", json=body(alert("resolved"))).json()["known"] == 1, "it never began"
    grafana.post("/alerts", json=body(alert()))
    assert grafana.post("/alerts", json=body(alert("resolved"))).json()["over"] == 1
    assert grafana.post("/alerts", json=body(alert("resolved"))).json()["known"] == 1
    assert grafana.post("/alerts", json=body(alert(startsAt="2026-03-02T08:00:00Z"))).json()["told"] == 1
    assert len(told(engine)) == 2, "of an end nobody is told"
    with transaction(engine) as conn:
        kinds = conn.execute(text("SELECT kind, severity FROM event ORDER BY id")).all()
    assert kinds == [("alert", "error"), ("alert_over", "info"), ("alert", "error")]


def test_the_message_has_the_words_of_the_rule(grafana: httpx.Client, engine: Engine) -> None:
    grafana.post("/alerts", json=body(alert()))
    [cause] = told(engine)
    place = Place("north", "Europe/Berlin", "http://box.example")
    message = notify_words.single(place, cause)
    assert message.title == "north: Predictions are late"
    lines = message.body.split("\n")
    assert lines[0] == "Good rows wait."
    assert lines[2:] == ["What to do: 'appliance doctor' says why.", "http://box.example"]
    assert notify_words.line(place, cause).startswith("Predictions are late: Good rows wait. (")


def test_a_drill_is_said_to_be_one_first(grafana: httpx.Client, engine: Engine) -> None:
    marked = alert(labels={"alertname": "Predictions are late", "profile": f"{drill_rows.MARK}lag"})
    whole = alert(fingerprint="disk", labels={"alertname": "The disk fills up", "place": "disk"})
    real = alert(fingerprint="real")
    with drill_rows.only_one(engine):
        assert grafana.post("/alerts", json=body(marked, whole, real)).json()["told"] == 3
    grafana.post(
        "/alerts", json=body(alert(fingerprint="later", labels={"alertname": "The disk fills up", "place": "disk"}))
    )
    place = Place("north", "UTC", "http://box.example")
    assert [notify_words.single(place, cause).title for cause in told(engine)] == [
        "north: drill, nothing is wrong: Predictions are late",
        "north: during a drill: The disk fills up",
        "north: Predictions are late",
        "north: The disk fills up",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"alerts": "all"},
        {"alerts": [{"status": "firing"}]},
        body(alert("odd")),
        body(alert(startsAt="2026-03-01T08:00:00")),
        body(alert(startsAt="0001-01-01T00:00:00+14:00")),
        body(alert(fingerprint="\ud800")),
        body(alert(labels={"alertname": "a\0b"})),
        body(alert(labels={"alertname": 1})),
        body(alert(fingerprint="")),
        body(*[alert()] * 501),
    ],
)
def test_what_is_no_webhook_of_grafana_is_refused(grafana: httpx.Client, engine: Engine, wrong: dict[str, Any]) -> None:
    given = {"content": json.dumps(wrong), "headers": {"content-type": "application/json"}}
    assert grafana.post("/alerts", **given).status_code in (400, 422)
    assert told(engine) == []


def test_many_alerts_fit_into_one_body(grafana: httpx.Client) -> None:
    many = [alert(fingerprint=str(number), annotations={"summary": "x" * 1000}) for number in range(200)]
    assert grafana.post("/alerts", json=body(*many)).json()["told"] == 200


def test_words_that_are_too_long_are_cut(grafana: httpx.Client, engine: Engine) -> None:
    long = alert(annotations={"summary": "s" * 9000, "description": "d" * 9000})
    assert grafana.post("/alerts", json=body(long)).json()["told"] == 1
    [cause] = told(engine)
    assert len(cause.message) == 1000


def test_a_viewer_may_not_have_people_told(people: People) -> None:
    assert people("viewer").post("/alerts", json=body(alert())).status_code == 403
    assert people.nobody.post("/alerts", json=body(alert())).status_code == 401


def test_the_contact_point_is_as_grafana_documents_it() -> None:
    document = yaml.safe_load(contact.contact_points())
    assert set(document) == {"apiVersion", "contactPoints"}
    [point] = document["contactPoints"]
    assert set(point) == {"orgId", "name", "receivers"}
    [receiver] = point["receivers"]
    assert set(receiver) == {"uid", "type", "settings", "disableResolveMessage"}
    assert receiver["type"] == "webhook"
    assert len(receiver["uid"]) <= 40
    assert set(receiver["settings"]) == {"url", "httpMethod", "authorization_scheme", "authorization_credentials"}
    assert receiver["settings"]["httpMethod"] in ("POST", "PUT")


def test_no_secret_stands_in_it_and_it_may_come_from_a_file(tmp_path: Path) -> None:
    [point] = yaml.safe_load(contact.contact_points())["contactPoints"]
    settings = point["receivers"][0]["settings"]
    assert settings["authorization_credentials"] == "${APPLIANCE_GRAFANA_ALERTS_TOKEN}"
    assert settings["url"] == "${APPLIANCE_GRAFANA_ALERTS_URL}"
    (tmp_path / "token").write_text("fa_secret\n")
    given = {"APPLIANCE_GRAFANA_ALERTS_TOKEN": f"$__file{{{tmp_path}/token}}"}
    assert interpolated(settings, given)["authorization_credentials"] == "fa_secret"


def test_each_rule_leads_to_it_and_the_owner_s_policies_are_left_alone() -> None:
    for rule in map(alerts.as_json, alerts.RULES):
        routing = rule["notification_settings"]
        assert set(routing) == {"receiver", "group_by", "group_wait", "group_interval", "repeat_interval"}
        assert routing["receiver"] == contact.NAME
        # Grafana takes no other grouping of a rule that names its receiver.
        assert {"grafana_folder", "alertname"} <= set(routing["group_by"])
        assert rule["labels"]["rule"] == rule["uid"]
    assert "policies" not in yaml.safe_load(alerts.rules())
