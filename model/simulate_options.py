"""The words of ``python -m model.simulate``, and which of them contradict each other."""

from __future__ import annotations

import argparse
import math
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

from appliance.errors import UsageError
from model.plants import PLANTS

_EPILOG = """
A plant remembers in RAW_DIR/.simulate-<plant>.json how far each machine has been played with each seed, and goes on from
there; --start-at plays again from a given file. The same seed gives the same rows, however they are cut into files.

With --as-demo all names begin with demo-, so that `appliance demo-rows remove` finds everything that came of them. Such
a plant waits where its raw folder is missing or full, and where nobody takes its files; only a signal ends it.
"""
# Files with the mark that may lie in the drop folder before a plant holds back.
MOST_WAITING = 100


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", "`appliance simulate --help` lists the options.")


def parser(summary: str) -> argparse.ArgumentParser:
    made = _Parser(prog="appliance simulate", description=summary, epilog=_EPILOG, allow_abbrev=False)
    add = made.add_argument
    add(
        "--plant",
        default="milling",
        metavar="NAME",
        help=f"{', '.join(PLANTS)}; with --from also a profile's .toml file",
    )
    add("--seed", type=_whole(0), default=0, help="what the rows are drawn from (0)")
    add("--machines", type=_whole(1), help="how many machines (2; in one file: 1 mill, 20 pumps)")
    add(
        "--begin", type=_day, metavar="DATE", help="first day in the files of a plant that writes the time (2025-01-01)"
    )
    one = made.add_argument_group("one file, for training")
    one.add_argument("--rows", type=_whole(1), help="rows of the file")
    one.add_argument("--out", type=Path, metavar="FILE.csv", help="the file; it gets its name when it is whole")
    over = made.add_argument_group("a plant over time")
    over.add_argument("--into", type=Path, metavar="RAW_DIR", help="the raw folder; files go to RAW_DIR/<profile>/...")
    over.add_argument(
        "--every", type=_seconds, default=5.0, metavar="SECONDS", help="each machine drops a file so often (5)"
    )
    over.add_argument("--rows-per-file", type=_whole(1), default=100, metavar="N", help="rows of each file (100)")
    over.add_argument("--files", type=_whole(1), metavar="N", help="files per machine; without it, until stopped")
    over.add_argument(
        "--start-at", type=_whole(1), metavar="N", help="begin at file N of each machine, even if played before"
    )
    over.add_argument("--from", dest="source", type=Path, metavar="FILE", help="play this CSV file, its rows untouched")
    over.add_argument("--as-demo", action="store_true", help="mark its files and machines as simulated; never give up")
    over.add_argument(
        "--most-waiting",
        type=_whole(1),
        metavar="N",
        help=f"with --as-demo: drop nothing while so many of its files wait ({MOST_WAITING})",
    )
    over.add_argument("--careless", action="store_true", help="write slowly under the final name")
    over.add_argument("--manifest", type=Path, metavar="FILE.jsonl", help="append a line about each dropped file")
    wrong = made.add_argument_group("faults on purpose")
    wrong.add_argument("--faults", type=_share, metavar="SHARE", help="share of the files that get one, 0 to 1")
    wrong.add_argument(
        "--fault", action="append", default=[], metavar="NAME", help="only this kind; repeatable; share 1 unless told"
    )
    wrong.add_argument("--list-faults", action="store_true", help="print all kinds and end")
    add("--json", action="store_true", help="print one JSON object at the end")
    return made


def check(options: argparse.Namespace) -> None:
    """Refuse options that contradict each other."""
    if (options.out is None) == (options.into is None):
        raise UsageError("Give either --out FILE with --rows N, or --into RAW_DIR.", "See `appliance simulate --help`.")
    if (options.out is None) != (options.rows is None):
        raise UsageError(
            "--rows and --out go together.", "With --into the rows are given by --rows-per-file and --files."
        )
    if options.out and (options.source or options.faults or options.fault or options.manifest or options.start_at):
        raise UsageError("--from, --faults, --fault, --manifest and --start-at belong to --into.", "Leave them out.")
    if options.out and options.as_demo:
        raise UsageError("--as-demo belongs to --into.", "A file for training needs no mark.")
    if options.most_waiting and not options.as_demo:
        raise UsageError("--most-waiting belongs to --as-demo.", "Leave it out.")
    if options.source and (options.files or options.start_at or options.begin):
        raise UsageError(
            "--files, --start-at and --begin do not go with --from.", "A given file is played from end to end."
        )
    for path in (options.out, options.manifest):
        if path and not path.parent.is_dir():
            raise UsageError(f"There is no folder {path.parent}.", "Create it first.")
    if options.plant not in PLANTS and not (options.source and options.plant.endswith(".toml")):
        raise UsageError(
            f"There is no plant {options.plant!r}.",
            f"There are {', '.join(PLANTS)}; with --from also a profile as a .toml file.",
        )


def _whole(least: int) -> Any:
    def number(text: str) -> int:
        if not (text.isascii() and text.isdigit() and int(text) >= least):
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least {least}")
        return int(text)

    return number


def _seconds(text: str) -> float:
    return _between(text, 0, 1e9, "a number of seconds")


def _share(text: str) -> float:
    return _between(text, 0, 1, "a share between 0 and 1")


def _between(text: str, least: float, most: float, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return value


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date such as 2026-03-01") from None
