"""The process in which the fuzzer runs: it makes files, and ends at the first that fails. Started by ``tests.fuzz``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["appliance"]):
    from tests.fuzz.target import Target

EVERY = 200


def main() -> None:
    told, folder, files, *options = sys.argv[1:]
    target = Target(Path(folder))

    def tell() -> None:
        aside = Path(f"{told}.new")
        aside.write_text(json.dumps(target.verdicts))
        aside.replace(told)

    def one(data: bytes) -> None:
        target(data)
        # The fuzzer ends its process by itself: nothing comes behind the last file.
        done = target.verdicts.total()
        if done % EVERY == 0 or done == int(files):
            tell()

    atheris.Setup([sys.argv[0], f"-runs={files}", *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
