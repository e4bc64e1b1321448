"""Every file of dashboards and provisioning, by its name below this folder."""

from __future__ import annotations

import json

from grafana import alerts, box, contact, kiosk, model, provisioning, quality, right

DASHBOARDS = (kiosk.DASHBOARD, quality.DASHBOARD, model.DASHBOARD, right.DASHBOARD, box.DASHBOARD)


def all_files() -> dict[str, str]:
    found = {f"dashboards/{one.uid}.json": _json(one.as_json()) for one in DASHBOARDS}
    found["provisioning/datasources/appliance.yaml"] = provisioning.datasource()
    found["provisioning/dashboards/appliance.yaml"] = provisioning.dashboards()
    found["provisioning/alerting/appliance.yaml"] = alerts.rules()
    found["provisioning/alerting/appliance-contact.yaml"] = contact.contact_points()
    return found


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
