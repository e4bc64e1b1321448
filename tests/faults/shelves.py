"""What must hold of the models of a box: what serves is whole, and leads back to all that served before."""

from __future__ import annotations

import shutil

from appliance import bundle, signing
from appliance.errors import BundleRefused
from tests.faults.boxes import Box
from tests.faults.conftest import Shelf


def shelf_faults(shelf: Shelf, box: Box, serving: set[str]) -> list[str]:
    """One of ``serving`` serves, every version that shows loads, and going back leads through all earlier ones."""
    models, keys = box.folder / "models", signing.trusted_keys(box.folder / "keys")
    now = bundle.active_version(models, "milling")
    if now not in serving:
        return [f"{now} serves"]
    lines = []
    for version in bundle.installed(models, "milling"):
        try:
            bundle.load(models, "milling", version, keys)
        except BundleRefused as error:
            lines.append(f"{version} is installed and refused: {error}")
    back = list(reversed(shelf.milling[: shelf.milling.index(now) + 1]))
    if (found := way_back(box)) != back:
        lines.append(f"the way back is {found}, not {back}")
    return lines


def way_back(box: Box) -> list[str]:
    """What serves, and what would serve after each further rollback; every one of them is verified on the way."""
    keys = signing.trusted_keys(box.folder / "keys")
    trial = box.folder / "trial"
    shutil.copytree(box.folder / "models", trial, symlinks=True)
    try:
        found = [bundle.active(trial, "milling", keys).version]
        try:
            while True:
                found.append(bundle.rollback(trial, "milling", keys).version)
        except BundleRefused as error:
            if error.reason != "missing":
                raise
        return found
    finally:
        shutil.rmtree(trial)
