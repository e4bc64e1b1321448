"""Where the time of the road goes, function by function, as a picture (``make flame``; as root, who may look into processes)."""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench import workplace

PICTURE = workplace.ROOT / "docs" / "performance-road.svg"
ROWS = 1_000_000
# Odd, so that it does not beat in time with what happens every hundredth of a second.
SAMPLES_A_SECOND = 97
_TITLE = re.compile(r'(<text id="title"[^>]*>)[^<]*')


def main(arguments: Sequence[str] | None = None) -> int:
    from tests.bench.journey import DIRECT

    parser = argparse.ArgumentParser(prog="python -m tests.bench.flame", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help=f"rows of the file ({ROWS:,})")
    parser.add_argument("--models", type=Path, metavar="DATA_DIR", help="take the active model of this data folder")
    parser.add_argument("--out", type=Path, default=PICTURE, help=f"where to ({PICTURE.name})")
    options = parser.parse_args(arguments)
    with workplace.open_workplace(options.rows, options.models) as place, place.box() as box:
        words = ["-m", "tests.bench.journey", "--way", DIRECT, "--database", str(place.database_pid)]
        workplace.run([*words, "--flames", str(options.out)], box.environment)
    # It names the command line, with folders of this machine.
    said = f"The road of {options.rows:,} rows, all threads, {SAMPLES_A_SECOND} samples a second"
    options.out.write_text(_TITLE.sub(rf"\g<1>{said}", options.out.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


@contextmanager
def drawn(of: int, out: Path) -> Iterator[None]:
    """A picture of what that process does within the block, idle threads too: to wait for PostgreSQL takes time as well."""
    spy = [str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(of), "--output", str(out)]
    spy += ["--function", "--idle", "--threads", "--rate", str(SAMPLES_A_SECOND)]
    with subprocess.Popen(spy, stdout=subprocess.PIPE, text=True, stderr=sys.stderr) as watcher:
        assert watcher.stdout is not None
        watcher.stdout.readline()  # it looks from here on
        yield
        watcher.send_signal(signal.SIGINT)
        watcher.stdout.read()
    if watcher.returncode:
        raise RuntimeError(f"py-spy ended with {watcher.returncode}: it may look into processes as root")


if __name__ == "__main__":
    sys.exit(main())
