"""The addresses of the API: each handler asks one module and words the answer."""

from __future__ import annotations

from appliance.api.routes import alarms, files, health, machines, models, pages, parts, predict, predictions, profiles

ROUTERS = tuple(
    module.router for module in (predict, predictions, parts, files, machines, alarms, profiles, models, health, pages)
)
