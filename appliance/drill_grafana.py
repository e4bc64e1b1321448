"""What a running Grafana says of its alert rules, over the address that Prometheus made usual."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from appliance import drill
from appliance.errors import ApplianceError, SettingError

FROM, BELOW = (12,), (14,)
_RULES = "/api/prometheus/grafana/api/v1/rules"
_SECONDS = 10.0

Word = Literal["fires", "will fire", "silent"]


@dataclass(frozen=True, slots=True)
class Seen:
    """``of_drill``: of the rows of a drill, where those can be told apart, else the rule's; ``by_itself``: of others."""

    of_drill: Word
    by_itself: Word


class Grafana:
    """``login``: ``user:password``, or the token of a service account; none where viewers need not sign in."""

    def __init__(self, url: str, login: str = "") -> None:
        self.url = url.rstrip("/")
        headers, auth = {"accept": "application/json"}, None
        if ":" in login:
            auth = httpx.BasicAuth(*login.split(":", 1))
        elif login:
            headers["authorization"] = f"Bearer {login}"
        # A proxy that the environment names is for the internet.
        self._http = httpx.Client(base_url=self.url, headers=headers, auth=auth, timeout=_SECONDS, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def version(self) -> str:
        """SettingError where it is none that the rules were made for."""
        version = str(self._get("/api/health").get("version", ""))
        digits = version.split(".")[0]
        if not digits.isdigit() or not FROM <= (int(digits),) < BELOW:
            raise SettingError(
                f"At {self.url} is Grafana {version or 'without a version'}.", "The rules are for Grafana 12 and 13."
            )
        return version

    def states(self) -> dict[str, Seen]:
        """Of each rule of ours, by its id."""
        groups = self._get(_RULES).get("data", {}).get("groups", [])
        found = {}
        for group in groups:
            for rule in group.get("rules") or []:
                uid = (rule.get("labels") or {}).get("rule")
                if uid:
                    found[uid] = _seen(rule)
        return found

    def _get(self, path: str) -> dict[str, Any]:
        try:
            answer = self._http.get(path)
            if answer.status_code in (401, 403):
                raise SettingError(
                    f"Grafana at {self.url} lets only who signs in see its rules.",
                    "Set grafana_login to the token of a service account with the role Viewer.",
                )
            answer.raise_for_status()
            found = answer.json()
            if not isinstance(found, dict):
                raise ValueError("no object")
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise ApplianceError(
                f"There is no Grafana at {self.url} ({str(error) or type(error).__name__}).",
                "Is it running? Else mend the address after --grafana, or the setting grafana_url.",
            ) from None
        return found


def _seen(rule: Mapping[str, Any]) -> Seen:
    marked: list[Word] = []
    others: list[Word] = []
    for alert in rule.get("alerts") or []:
        labels = alert.get("labels") or {}
        (marked if drill.is_marked(labels) else others).append(_word(str(alert.get("state", ""))))
        if "profile" not in labels and not drill.is_marked(labels):
            # Of the box as a whole: a drill's figures are the same curve.
            marked.append(_word(str(alert.get("state", ""))))
    return Seen(_worst(marked), _worst(others))


def _word(state: str) -> Word:
    """Of an alert's own state: Normal, Pending, Alerting, with a reason in brackets behind at times."""
    match state.split(" ")[0].lower():
        case "alerting" | "firing":
            return "fires"
        case "pending":
            return "will fire"
        case _:
            return "silent"


def _worst(words: list[Word]) -> Word:
    if "fires" in words:
        return "fires"
    return "will fire" if "will fire" in words else "silent"
