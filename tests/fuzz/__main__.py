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
from collections import Counter
from pathlib import Path

LARGEST = 16 * 1024
MEMORY_MIB = 1024
SECONDS = 20  # of one file
ROUND = 10_000  # in one process: what the fuzzer remembers grows


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
    from tests.fuzz import target

    corpus = folder / "corpus"
    corpus.mkdir()
    keep.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(data)
    words = ("".join(f"\\x{byte:02x}" for byte in word) for word in target.WORDS)
    (folder / "words").write_text("".join(f'"{word}"\n' for word in words))

    began, verdicts, most, wrong = time.monotonic(), Counter[str](), 0, ""
    while (left := files - verdicts.total()) > 0 and not wrong:
        count = min(left, ROUND)
        found, mib, wrong = one_round(folder, corpus, count, seed + verdicts.total(), keep)
        verdicts.update(found)
        most = max(most, mib)
    seconds = time.monotonic() - began
    print(f"{verdicts.total():,} files from seed {seed} in {seconds:,.0f} s, each with a verdict; {most} MiB at most.")
    for verdict, times in verdicts.most_common():
        print(f"  {verdict:18} {times:>9,}")
    if wrong:
        print(f"The next file ended in none, or took too much; it is in {keep}.")
        print("\n".join(wrong.splitlines()[-60:]))
        return 1
    if not any(keep.iterdir()):
        keep.rmdir()
    return 0


def one_round(folder: Path, corpus: Path, files: int, seed: int, keep: Path) -> tuple[Counter[str], int, str]:
    """Files in a process of their own, from what those before have found: their verdicts, memory in MiB, and what went
    wrong."""
    told, log = folder / "verdicts.json", folder / "log"
    told.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "tests.fuzz.child", str(told), str(folder), str(files)),
        *(f"-seed={seed}", f"-max_len={LARGEST}", f"-dict={folder / 'words'}", f"-rss_limit_mb={MEMORY_MIB}"),
        *(f"-timeout={SECONDS}", f"-artifact_prefix={keep}/", "-print_final_stats=1", str(corpus)),
    ]
    environment = {**os.environ, "RUST_BACKTRACE": "0", "POLARS_MAX_THREADS": "1"}
    with log.open("wb") as output:
        ended = subprocess.run(command, stdout=output, stderr=output, env=environment, check=False).returncode
    said = log.read_text(errors="replace")
    peak = re.search(r"stat::peak_rss_mb:\s+(\d+)", said)
    found = Counter[str](json.loads(told.read_text()) if told.exists() else {})
    went_well = ended == 0 and found.total() == files
    return found, int(peak[1]) if peak else 0, "" if went_well else said or f"It ended with {ended}."


if __name__ == "__main__":
    sys.exit(main())
