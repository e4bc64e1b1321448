"""``python -m tests.unit.bundle.power_cut``: acts on a shelf in children that vanish in the middle.

Arguments: folder to watch (the shelf), keys folder, then the action and its own arguments. Prints "number exit-code" for
each child and waits for a line before the next one. Forks from a process that has only imported: threads do not fork.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from appliance import bundle, signing

VANISHED = 77
TOUCHES = ("open", "os.rename", "os.mkdir", "os.remove", "os.link", "os.rmdir")
_armed: dict[str, int] = {}


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    """The process is gone before its n-th touch of the folder, without any cleaning up."""
    if _armed and event in TOUCHES and any(sys.argv[1] in str(argument) for argument in arguments):
        _armed["left"] -= 1
        if _armed["left"] < 0:
            os._exit(VANISHED)


def _act() -> None:
    models, keys = Path(sys.argv[1]), signing.trusted_keys(Path(sys.argv[2]))
    match sys.argv[3:]:
        case ["install", source]:
            bundle.install(Path(source), models, keys)
        case ["activate", profile, version]:
            bundle.activate(models, profile, version, keys)
        case ["rollback", profile]:
            bundle.rollback(models, profile, keys)


def main() -> None:
    sys.addaudithook(_watch)
    for number in range(500):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _armed["left"] = number
                _act()
                code = 0
            finally:
                os._exit(code)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(number, ended, flush=True)
        if not sys.stdin.readline() or ended != VANISHED:
            return


if __name__ == "__main__":
    main()
