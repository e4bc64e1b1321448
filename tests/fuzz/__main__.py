"""Files by a fuzzer that sees which code each of them reaches: ``python -m tests.fuzz --files 100000 --seed 1``.

It needs atheris (``make fuzz`` installs it), a part of no other environment: a wheel with a compiler's runtime in it, for
x86_64 alone. Ends with 1 where a file ends in no verdict, or takes too much memory or time; that file is kept then.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LARGEST = 16 * 1024
MEMORY_MIB = 1024
SECONDS = 20  # of one file


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failure"), help="folder for a file that fails")
    asked = parser.parse_args()
    try:
        import atheris  # noqa: F401
    except ImportError:
        print("There is no atheris here: make fuzz installs it, on x86_64.")
        return 2
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        return run(Path(folder), asked.files, asked.seed, asked.keep)


def run(folder: Path, files: int, seed: int, keep: Path) -> int:
    corpus, told = folder / "corpus", folder / "verdicts.json"
    corpus.mkdir()
    keep.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "tests.fuzz.child", str(told), str(folder), str(files)),
        *(f"-seed={seed}", f"-max_len={LARGEST}", f"-dict={folder / 'words'}"),
        *(
            f"-rss_limit_mb={MEMORY_MIB}",
            f"-timeout={SECONDS}",
            f"-artifact_prefix={keep}/",
            "-print_final_stats=1",
            str(corpus),
        ),
    ]
    from tests.fuzz import target

    for number, data in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(data)
    words = ("".join(f"\\x{byte:02x}" for byte in word) for word in target.WORDS)
    (folder / "words").write_text("".join(f'"{word}"\n' for word in words))
    began = time.monotonic()
    environment = {**os.environ, "RUST_BACKTRACE": "0", "POLARS_MAX_THREADS": "1"}
    with (folder / "log").open("wb") as log:
        ended = subprocess.run(command, stdout=log, stderr=log, env=environment, check=False).returncode
    verdicts = json.loads(told.read_text()) if told.exists() else {}
    seconds, count = time.monotonic() - began, sum(verdicts.values())
    said = (folder / "log").read_text(errors="replace")
    peak = re.search(r"stat::peak_rss_mb:\s+(\d+)", said)
    print(
        f"{count:,} files from seed {seed} in {seconds:,.0f} s, each with a verdict; {peak[1] if peak else '?'} MiB at most."
    )
    for verdict, times in sorted(verdicts.items(), key=lambda item: -item[1]):
        print(f"  {verdict:18} {times:>9,}")
    if ended or count < files:
        print(f"It ended with {ended} after {count:,} of {files:,} files; the one at which it did is in {keep}.")
        print("\n".join(said.splitlines()[-60:]))
        return 1
    if not any(keep.iterdir()):
        keep.rmdir()
    return 0


if __name__ == "__main__":
    sys.exit(main())
