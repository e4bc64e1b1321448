"""Boot a box to look around in, or to try a playbook on: ``python -m tests.box [12|13]``, as root, until Ctrl-C."""

from __future__ import annotations

import shlex
import sys
from contextlib import suppress

from tests.box import base, leftovers, permits
from tests.box.box import Box
from tests.box.host import Lacking


def main() -> None:
    try:
        permits.check()
    except Lacking as reason:
        sys.exit(str(reason))
    leftovers.sweep()
    with Box.made(base.image(base.release_of(sys.argv[1] if len(sys.argv) > 1 else "12"))) as box:
        box.start()
        print(f"Enter it by: ssh {shlex.join(box.door.options)} root@{box.address}")
        print("For an inventory:", *(f"{name}={value!r}" for name, value in box.inventory().items()), sep="\n  ")
        with suppress(KeyboardInterrupt):
            sys.stdin.read()


if __name__ == "__main__":
    main()
