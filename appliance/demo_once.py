"""``demo --once``: play to the end, and account for every row."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence

from appliance import demo_screen, outputs, pipeline
from appliance.cli.output import emit, hint
from appliance.demo_offline import Offline
from appliance.errors import ApplianceError
from appliance.pipeline import Box
from appliance.profile import Profile
from appliance.store import accounts, engine, overview


def play(box: Box, plant: subprocess.Popen[bytes], offline: Offline | None, tell: Callable[[str], None]) -> None:
    """Pass until the plant is over and nothing waits; what was cut off comes back then."""
    while True:
        over = plant.poll() is not None
        ingested, predicted = pipeline.ingest(box), pipeline.predict(box)
        if ingested.arrivals or predicted.parts:
            tell(f"{ingested.sentence()} {predicted.sentence()}")
        if offline and (ingested.arrivals or predicted.parts or over):
            offline.copy(box)
            tell(offline.said)
        if over and not (ingested.arrivals or ingested.left or predicted.parts or predicted.held):
            break
    if plant.returncode:
        raise ApplianceError("The plant could not play.", "plant.log in the demo's folder says why.")
    if offline:
        offline.come_back(box)
        tell(offline.said)


def account(
    box: Box, profile: Profile, since: int, version: str, started: float, offline: Offline | None, *, as_json: bool
) -> int:
    """Print what became of the rows that came after that arrival. 1 where a promise about them was broken."""
    with engine.transaction(box.engine) as connection:
        played = overview.played(connection, since)
        broken = accounts.violations(connection)
    result = {**played.as_dict(), "seconds": round(time.monotonic() - started, 2), "model_version": version}
    result |= _judged(box, profile, played.file_ids)
    result |= offline.result() if offline else {}
    for violation in broken:
        hint(f"Broken promise: {violation.sentence}")
    if as_json:
        emit(result)
    else:
        demo_screen.print_accounting(result)
    exact = not broken and played.rows_predicted == played.rows_good and (offline is None or offline.is_exact)
    return 0 if exact else 1


def _judged(box: Box, profile: Profile, file_ids: Sequence[int]) -> dict[str, float]:
    """Precision and recall over the files whose rows carry the label, as the plant knows it."""
    label = profile.label
    if label is None:
        return {}
    hit = said = happened = 0
    for file_id in file_ids:
        with engine.transaction(box.engine) as connection:
            path, verdicts = overview.verdicts(connection, file_id)
        rows = outputs.read_part(box.settings.data_dir / path, 0, len(verdicts)) if path else None
        if rows is None or label.name not in rows.columns:
            continue
        for failing, failed in zip(verdicts, rows[label.name], strict=True):
            hit += bool(failing and failed)
            said += bool(failing)
            happened += bool(failed)
    if not happened:
        return {}
    return {"precision": round(hit / said, 4) if said else 0.0, "recall": round(hit / happened, 4)}
