"""``make screenshots``: every page in light, in dark and on a phone, from a plant that was played, into docs/screenshots.

A picture stays small enough for a repository: colours of a palette are enough for screens.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page

from appliance.client import Client
from appliance.settings import Settings
from tests.api.test_explain import GOOD
from tests.api.test_file_checks import mill_csv
from tests.api.test_journey import lines
from tests.conftest import FAST
from tests.ui.browser import stage as stages
from tests.ui.browser.stage import Stage

FOLDER = Path(__file__).parents[3] / "docs" / "screenshots"
LOOKS = {"light": {}, "dark": {"dark": True}, "phone": {"phone": True}}
# The most of a long page that a picture shows.
_TALLEST = 2200
_COLOURS = 128
# One that may do everything sees what there is to see.
_ROLE = "engineer"


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--out", type=Path, default=FOLDER)
    asked.add_argument("--pages", nargs="*", help="only these")
    given = asked.parse_args()
    if stages.CHROMIUM is None:
        sys.exit("There is no Chromium on this machine (Debian: apt-get install chromium).")
    given.out.mkdir(parents=True, exist_ok=True)
    with settled_stage() as stage:
        for name, query in pages(stage).items():
            if given.pages and name not in given.pages:
                continue
            for look, window in LOOKS.items():
                with stage.window(_ROLE, **window) as page:
                    stage.open(page, name, **query)
                    path = given.out / f"{name}-{look}.png"
                    path.write_bytes(picture(page))
                    print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")


def settled_stage() -> Any:
    """A trained plant with some minutes of history, in a folder that is removed afterwards."""
    from contextlib import ExitStack, contextmanager

    from appliance.store import embedded
    from appliance.store.migrations import migrate

    @contextmanager
    def made() -> Any:
        with ExitStack() as stack:
            folder = Path(tempfile.mkdtemp(prefix="appliance-stage-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            folder.chmod(0o755)
            server = embedded.start(folder / "db", options=FAST)
            stack.callback(server.stop)
            migrate(server.dsn)
            settings = Settings(data_dir=folder / "data", dsn=server.dsn, site="mill-hall-2")  # type: ignore[arg-type]
            (folder / "data").mkdir()
            stage = stack.enter_context(stages.staged(folder, settings, trained=True))
            stages.play(stage)
            yield stage

    return made()


def pages(stage: Stage) -> dict[str, dict[str, Any]]:
    """Every page with what it is to show; those that show one thing get one worth seeing."""
    # One machine whose tool wears out until there is an alarm: what the screens are for.
    now = datetime.now(UTC)
    with stage.client() as api:
        for number in range(40):
            row = GOOD | {"type": "L", "torque": 40 + number / 2, "tool_wear": 112 + 3 * number}
            at = (now - timedelta(minutes=40 - number)).isoformat()
            api.predict_rows([row], profile="milling", machine=f"mill-{stages.MACHINES + 1}", time=at)
    file = stages.drop(stage, "night_shift.csv", lines(60, bad=14), "mill-2")
    with stage.client() as api:
        machines = sorted(api.machines(), key=lambda one: (one["alarm"] is None, -(one["last_probability"] or 0)))
        machine = machines[0]["name"]
        prediction = next(api.predictions(at_most=1, verdict="failing"), None) or next(api.predictions(at_most=1))
    with Client(stage.settings.base_url, session=stage.cookie(_ROLE)) as api:
        rows = mill_csv(400, seed=3, spoilt={3: "much", 7: "999", 60: ""})
        check = api.check_file(io.BytesIO(rows), name="last_week.csv", profile="milling")
        while not check["done"]:
            check = api.predict_next(check["id"])
    one: dict[str, dict[str, Any]] = {
        "check_file": {"check": check["id"]},
        "machine": {"profile": "milling", "machine": machine},
        "prediction": {"id": prediction["id"]},
        "file": {"id": file["id"]},
    }
    from ui import pages as known

    return {name: one.get(name, {}) for name in known.NAMES}


def picture(page: Page) -> bytes:
    """The whole page, which scrolls within itself: the window is made as high as what stands in it."""
    height = page.evaluate("() => document.querySelector('[data-testid=stMain]').scrollHeight")
    size = page.viewport_size or {"width": 1280, "height": 900}
    page.set_viewport_size({"width": size["width"], "height": min(max(int(height), size["height"]), _TALLEST)})
    page.wait_for_timeout(700)
    shot = Image.open(io.BytesIO(page.screenshot(animations="disabled")))
    out = io.BytesIO()
    shot.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


if __name__ == "__main__":
    main()
