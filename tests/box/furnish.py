"""A box with what the appliance needs of others: Debian's packages and the libraries of the lock. Made once a lock.

It saves tests of the appliance's own services the minutes that an installation takes; how a box is really installed is
the playbook's affair and has tests of its own.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tests.box import host
from tests.box.box import Box
from tests.box.disk import Image
from tests.box.host import CACHE

CHECKOUT = Path(__file__).parents[2]
LOCK = CHECKOUT / "requirements-box.lock"
RELEASE = "/opt/appliance/releases/test"
PYTHON = f"{RELEASE}/bin/python"

_PACKAGES = "postgresql python3-venv"
_STEPS = (
    "apt-get update -qq",
    f"DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends {_PACKAGES} >/dev/null",
    f"python3 -m venv {RELEASE} && ln -s releases/test /opt/appliance/current",
    f"{PYTHON} -m pip install --quiet --no-deps --only-binary=:all: --require-hashes --requirement /root/{LOCK.name}",
    "apt-get clean",
)
_SECONDS = 900


def furnished(image: Image) -> Image:
    """The image of such a box, made if it is not there (some minutes)."""
    key = hashlib.sha256(repr((_STEPS, LOCK.read_bytes())).encode()).hexdigest()[:12]
    folder = CACHE / f"{image[0].name}-furnished-{key}"
    with host.locked(folder.name):
        if not folder.is_dir():
            with Box.made(image) as box:
                box.start()
                box.put(LOCK, "/root/")
                for step in _STEPS:
                    box.run(step, seconds=_SECONDS)
                box.freeze(folder)
        os.utime(folder)
    return (folder, *image)
