"""The addresses of the API: each handler asks one module and words the answer."""

from __future__ import annotations

from appliance.api.routes import (
    alarms,
    alerts,
    corrections,
    explain,
    file_checks,
    files,
    health,
    machines,
    models,
    outcomes,
    pages,
    parts,
    people,
    plant,
    predict,
    predictions,
    profiles,
    signin,
)

ROUTERS = tuple(
    module.router
    for module in (
        predict,
        predictions,
        explain,
        file_checks,
        parts,
        files,
        corrections,
        plant,
        machines,
        alarms,
        alerts,
        outcomes,
        profiles,
        models,
        people,
        health,
        pages,
        signin,
    )
)
