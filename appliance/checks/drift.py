"""Whether the machines still send what the models were trained on."""

from __future__ import annotations

from appliance import drift
from appliance.checks.base import Context, Fault
from appliance.store import drift as store

# Temperatures, loads and products wander: one day is always unlike a year. What stays unlike for days is news.
_DAYS, _LASTING = 7, 3
# Of rows with a value that the model has never seen the like of.
_OUTSIDE = 0.05
_NAMED = 3


def check(context: Context) -> list[Fault]:
    found = []
    with context.transaction() as connection:
        for recent in store.recent(connection, _DAYS):
            rows, profile = recent["rows"], recent["profile"]
            if rows < drift.FEW_ROWS or recent["days"] < _LASTING:
                continue
            said = drift.drifts(store.bins(connection, recent["model_id"]), recent["counts"])
            much = sorted((one for one in said if one.level == "much"), key=lambda one: -one.psi)
            if much:
                names = ", ".join(
                    f"{'the probability' if one.name == drift.SCORE else one.name} (PSI {one.psi:.2f})"
                    for one in much[:_NAMED]
                )
                more = f" and {len(much) - _NAMED} more" if len(much) > _NAMED else ""
                found.append(_fault(f"Rows of profile {profile!r} are not what its model learned from: {names}{more}."))
            elif recent["outside"] >= _OUTSIDE * rows:
                share = recent["outside"] / rows
                found.append(
                    _fault(f"{share:.0%} of the rows of profile {profile!r} lie outside of its model's range.")
                )
    return found


def _fault(sentence: str) -> Fault:
    return Fault("drift", "warning", sentence, "Is a sensor or the work another one? If it stays so, train anew.")
