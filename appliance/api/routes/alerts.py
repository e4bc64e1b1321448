"""Where Grafana's contact point leads."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from appliance import drill
from appliance.api.auth import Operator
from appliance.api.respond import Json
from appliance.api.state import State
from appliance.store import alerts as store
from appliance.store import drill_rows

router = APIRouter(tags=["alerts"])

_Text = Annotated[str, Field(max_length=10_000, pattern=r"^[^\x00]*$")]
_Texts = dict[_Text, _Text]
_MOST = 500
_LONGEST = 1_000


def _utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is beyond all calendars") from None


class Alert(BaseModel):
    """Fields that are not named here are Grafana's own affair."""

    model_config = ConfigDict(extra="ignore")

    status: Literal["firing", "resolved"]
    labels: _Texts
    annotations: _Texts = Field(default_factory=dict)
    starts_at: Annotated[AwareDatetime, AfterValidator(_utc), Field(alias="startsAt")]
    fingerprint: Annotated[_Text, Field(min_length=1)]

    def as_noted(self, drill_is_on: bool) -> store.Alert:
        title = self.labels.get("alertname") or "An alert"
        return store.Alert(
            rule=self.labels.get("rule", ""),
            title=title[:_LONGEST],
            fingerprint=self.fingerprint[:_LONGEST],
            since=self.starts_at,
            said=(self.annotations.get("summary") or f"{title} fires.")[:_LONGEST],
            action=self.annotations.get("description", "")[:_LONGEST],
            drill=_drill(self.labels, drill_is_on),
            labels={name[:_LONGEST]: value[:_LONGEST] for name, value in self.labels.items()},
        )


class Alerts(BaseModel):
    """What Grafana's webhook sends, as far as it matters here."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [
                {
                    "alerts": [
                        {
                            "status": "firing",
                            "labels": {"alertname": "Predictions are late", "profile": "milling"},
                            "annotations": {
                                "summary": "Good rows wait for an hour.",
                                "description": "appliance doctor",
                            },
                            "startsAt": "2026-03-01T08:00:00Z",
                            "fingerprint": "c6eadffa33fcdf37",
                        }
                    ]
                }
            ]
        },
    )

    alerts: Annotated[list[Alert], Field(max_length=_MOST)]


@router.post("/alerts", response_class=Json, summary="Have people told of what Grafana found")
def tell(api: State, _: Operator, body: Alerts) -> Json:
    """For Grafana's contact point. Each episode of an alert is told once, however often it comes; the messages go the way
    of all others. Other fields of a webhook are left aside."""
    counts = {"told": 0, "over": 0, "known": 0}
    with api.transaction() as connection:
        is_on = drill_rows.is_on(connection)
        for alert in body.alerts:
            noted, step, count = alert.as_noted(is_on), store.fires, "told"
            if alert.status == "resolved":
                step, count = store.is_over, "over"
            counts[count if step(connection, noted) else "known"] += 1
    return Json(counts)


def _drill(labels: dict[str, str], is_on: bool) -> store.Drill:
    """What is of a profile of its own is told apart; of the box as a whole nobody can know it."""
    if drill.is_marked(labels):
        return "rows"
    return "meanwhile" if is_on and "profile" not in labels else ""
