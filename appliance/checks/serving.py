"""Whether every profile that should be served is, and by the version that was activated."""

from __future__ import annotations

from appliance import bundle
from appliance.checks.base import Context, Fault


def check(context: Context) -> list[Fault]:
    models = context.models
    if models is None:
        return []
    shelf = context.settings.models
    wanted = {name: bundle.active_version(shelf, name) for name in bundle.profiles(shelf)}
    serving, refused = set(models.names()), models.faults
    found = []
    for name in sorted({name for name, version in wanted.items() if version is not None} | serving | set(refused)):
        way_out = f"See `appliance model list --profile {name}`, and activate a good version or roll back."
        if name not in serving:
            why = f": {refused[name]}" if name in refused else " yet."
            found.append(Fault("model", "fault", f"No model serves profile {name!r}{why}", way_out))
        elif name in refused:
            version = models.get(name).version
            why = f"profile {name!r} is still served by {version}, for version {wanted.get(name)!r} is refused"
            found.append(Fault("model", "warning", f"{why[0].upper()}{why[1:]}: {refused[name]}", way_out))
    if not serving and not found:
        way_out = "Train one with `appliance model train`, or install a bundle."
        found.append(Fault("model", "fault", "No model serves.", way_out))
    return found
