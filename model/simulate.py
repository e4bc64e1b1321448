"""Play a plant: one large file for training, or files that drop into the raw folder like those of real machines.

``python -m model.simulate --help``; the command ``appliance simulate`` takes the same options.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

from appliance import profile as profiles
from appliance.errors import ApplianceError, UsageError
from appliance.profile import Profile
from model import faults
from model.plants import PLANTS, Plant, Pump, chunks
from model.plants.drop import Dropper, FaultPlan, Played, play
from model.plants.source import Drop, Positions, recorded, simulated

_EPILOG = """
A plant remembers in RAW_DIR/.simulate-<plant>.json how far each machine has been played with each seed, and goes on from
there; --start-at plays again from a given file. The same seed gives the same rows, however they are cut into files.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", "`appliance simulate --help` lists the options.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 fine, 1 it could not be done, 2 wrong usage."""
    try:
        options = _parser().parse_args(arguments)
        if options.list_faults:
            _list_faults(options.json)
            return 0
        _check(options)
        summary = _write_file(options) if options.out else _play(options)
    except ApplianceError as error:
        return _fail(str(error), 2 if isinstance(error, UsageError) else 1)
    except OSError as error:
        return _fail(f"{error.filename or 'A file'} cannot be read or written: {error.strerror}.", 1)
    print(json.dumps(summary, ensure_ascii=False) if options.json else _sentence(summary))  # noqa: T201
    return 1 if options.out and summary["stopped"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="appliance simulate", description=(__doc__ or "").splitlines()[0], epilog=_EPILOG, allow_abbrev=False
    )
    add = parser.add_argument
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
    one = parser.add_argument_group("one file, for training")
    one.add_argument("--rows", type=_whole(1), help="rows of the file")
    one.add_argument("--out", type=Path, metavar="FILE.csv", help="the file; it gets its name when it is whole")
    over = parser.add_argument_group("a plant over time")
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
    over.add_argument("--careless", action="store_true", help="write slowly under the final name")
    over.add_argument("--manifest", type=Path, metavar="FILE.jsonl", help="append a line about each dropped file")
    wrong = parser.add_argument_group("faults on purpose")
    wrong.add_argument("--faults", type=_share, metavar="SHARE", help="share of the files that get one, 0 to 1")
    wrong.add_argument(
        "--fault", action="append", default=[], metavar="NAME", help="only this kind; repeatable; share 1 unless told"
    )
    wrong.add_argument("--list-faults", action="store_true", help="print all kinds and end")
    add("--json", action="store_true", help="print one JSON object at the end")
    return parser


def _check(options: argparse.Namespace) -> None:
    """Refuse options that contradict each other."""
    if (options.out is None) == (options.into is None):
        raise UsageError("Give either --out FILE with --rows N, or --into RAW_DIR.", "See `appliance simulate --help`.")
    if (options.out is None) != (options.rows is None):
        raise UsageError(
            "--rows and --out go together.", "With --into the rows are given by --rows-per-file and --files."
        )
    if options.out and (options.source or options.faults or options.fault or options.manifest or options.start_at):
        raise UsageError("--from, --faults, --fault, --manifest and --start-at belong to --into.", "Leave them out.")
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


def _plant(options: argparse.Namespace) -> Plant:
    plant = PLANTS[options.plant]()
    if options.begin:
        if not isinstance(plant, Pump):
            raise UsageError(f"The files of plant {plant.name!r} hold no time.", "Leave --begin out.")
        plant.begin = options.begin
    if (options.machines or 0) > plant.most_machines:
        raise UsageError(f"The plant {plant.name!r} has room for {plant.most_machines} machines.", "Ask for fewer.")
    return plant


def _write_file(options: argparse.Namespace) -> dict[str, Any]:
    plant, stop, begin = _plant(options), _stopped_by_signals(), time.monotonic()
    machines = options.machines or plant.training_machines
    temporary = options.out.with_name(f".{options.out.name}.tmp")
    digest, written = hashlib.sha256(plant.header()), 0
    try:
        with temporary.open("wb") as file:
            file.write(plant.header())
            for lines, rows in chunks(plant, options.rows, options.seed, machines):
                if stop.is_set():
                    break
                file.write(lines)
                digest.update(lines)
                written += rows
                _progress(f"{written:,} of {options.rows:,} rows")
        whole = written == options.rows
        if whole:
            temporary.replace(options.out)
    finally:
        temporary.unlink(missing_ok=True)
        _progress("")
    return {
        "plant": plant.name,
        "seed": options.seed,
        "machines": machines,
        "out": str(options.out),
        "rows": written if whole else 0,
        "sha256": digest.hexdigest() if whole else None,
        "seconds": round(time.monotonic() - begin, 3),
        "stopped": not whole,
    }


def _play(options: argparse.Namespace) -> dict[str, Any]:
    stop, machines = _stopped_by_signals(), options.machines or (1 if options.source else 2)
    profile, drops = _recording(options, machines) if options.source else _simulation(options, machines)
    dropper = Dropper(
        options.into,
        profile,
        plan=_fault_plan(options, profile),
        careless=options.careless,
        manifest=options.manifest,
        stop=stop,
    )
    begin = time.monotonic()
    try:
        totals = play(drops, dropper, interval=options.every / machines, stop=stop, progress=_show)
    finally:
        _progress("")
    head = {"plant": profile.name, "seed": options.seed, "machines": machines, "into": str(options.into)}
    return {**head, **totals, "seconds": round(time.monotonic() - begin, 3)}


def _simulation(options: argparse.Namespace, machines: int) -> tuple[Profile, Iterator[Drop]]:
    plant = _plant(options)
    options.into.mkdir(parents=True, exist_ok=True)
    drops = simulated(
        plant,
        Positions(options.into / f".simulate-{plant.name}.json"),
        seed=options.seed,
        machines=machines,
        rows=options.rows_per_file,
        files=options.files,
        start_at=options.start_at,
    )
    return plant.profile, drops


def _recording(options: argparse.Namespace, machines: int) -> tuple[Profile, Iterator[Drop]]:
    if not options.source.is_file():
        raise UsageError(f"{options.source} is no file.", "Give the path of a CSV file.")
    plant = _plant(options) if options.plant in PLANTS else None
    profile = plant.profile if plant else profiles.load(Path(options.plant))
    if "csv" not in profile.file.formats:
        raise UsageError(f"The files of profile {profile.name!r} are no CSV.", "Only CSV files can be played.")
    names = [plant.machine(n) if plant else f"machine-{n}" for n in range(1, machines + 1)]
    return profile, recorded(options.source, profile, names, options.rows_per_file)


def _fault_plan(options: argparse.Namespace, profile: Profile) -> FaultPlan | None:
    if options.faults is None and not options.fault:
        return None
    kinds = faults.chosen(options.fault, profile)
    return FaultPlan(kinds, 1.0 if options.faults is None else options.faults, options.seed)


def _list_faults(as_json: bool) -> None:
    if as_json:
        kinds = [{"name": f.name, "description": f.description, "expected": f.expected} for f in faults.FAULTS.values()]
        print(json.dumps({"faults": kinds}))  # noqa: T201
        return
    for fault in faults.FAULTS.values():
        print(f"{fault.name:<24}{fault.expected:<6}{fault.description}")  # noqa: T201


def _stopped_by_signals() -> threading.Event:
    """Set by SIGTERM and SIGINT: the file at hand is finished, and the summary is still printed."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _show(played: Played) -> None:
    _progress(f"{played.files:,} files, {played.rows:,} rows, {played.faulty_files:,} with a fault")


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def _sentence(summary: dict[str, Any]) -> str:
    if "out" not in summary:
        spoiled = f", {summary['faulty_files']:,} of them with a fault" if summary["faulty_files"] else ""
        return f"Dropped {summary['files']:,} files{spoiled}, {summary['rows']:,} rows, into {summary['into']}."
    if summary["stopped"]:
        return f"Stopped before {summary['out']} was whole; nothing was written."
    return f"Wrote {summary['rows']:,} rows to {summary['out']}."


def _fail(text: str, code: int) -> int:
    print(f"appliance simulate: {text}", file=sys.stderr)  # noqa: T201
    return code


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


if __name__ == "__main__":
    sys.exit(main())
