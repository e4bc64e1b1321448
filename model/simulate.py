"""Play a plant: one large file for training, or files that drop into the raw folder like those of real machines.

``python -m model.simulate --help``; the command ``appliance simulate`` takes the same options.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from appliance import profile as profiles
from appliance.errors import ApplianceError, UsageError
from appliance.names import DEMO
from appliance.profile import Profile
from model import faults
from model.plants import PLANTS, Plant, Pump, chunks, lasting
from model.plants.drop import Dropper, FaultPlan, Played, play
from model.plants.source import Drop, Positions, recorded, simulated
from model.plants.stopping import BySignals
from model.simulate_options import MOST_WAITING, check, parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 fine, 1 it could not be done, 2 wrong usage."""
    try:
        options = parser((__doc__ or "").splitlines()[0]).parse_args(arguments)
        if options.list_faults:
            _list_faults(options.json)
            return 0
        check(options)
        summary = _write_file(options) if options.out else _play(options)
    except ApplianceError as error:
        return _fail(str(error), 2 if isinstance(error, UsageError) else 1)
    except OSError as error:
        return _fail(f"{error.filename or 'A file'} cannot be read or written: {error.strerror}.", 1)
    print(json.dumps(summary, ensure_ascii=False) if options.json else _sentence(summary))  # noqa: T201
    return 1 if options.out and summary["stopped"] else 0


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
    plant, stop, begin = _plant(options), BySignals(), time.monotonic()
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
    # The file at hand is finished, and the summary is still printed.
    stop, machines = BySignals(), options.machines or (1 if options.source else 2)
    plant = _plant(options) if options.plant in PLANTS else None
    profile = _recorded_profile(options, plant) if plant is None or options.source else plant.profile
    dropper = Dropper(
        options.into,
        profile,
        plan=_fault_plan(options, profile),
        careless=options.careless,
        manifest=options.manifest,
        stop=stop,
    )

    def once() -> None:
        drops = _drops(options, plant, profile, machines)
        play(drops, dropper, interval=options.every / machines, stop=stop, progress=_show, held=held)

    def held() -> bool:
        return options.as_demo and dropper.waiting() >= (options.most_waiting or MOST_WAITING)

    begin = time.monotonic()
    try:
        if options.as_demo:
            lasting.play_on(options.into, dropper, once, stop, again=options.source is None)
        else:
            options.into.mkdir(parents=True, exist_ok=True)
            once()
    finally:
        _progress("")
    head = {"plant": profile.name, "seed": options.seed, "machines": machines, "into": str(options.into)}
    seconds = round(time.monotonic() - begin, 3)
    return {**head, **asdict(dropper.played), "stopped": stop.is_set(), "seconds": seconds}


def _drops(options: argparse.Namespace, plant: Plant | None, profile: Profile, machines: int) -> Iterator[Drop]:
    mark = DEMO if options.as_demo else ""
    if options.source:
        names = [mark + (plant.machine(n) if plant else f"machine-{n}") for n in range(1, machines + 1)]
        return recorded(options.source, profile, names, options.rows_per_file)
    assert plant is not None
    return simulated(
        plant,
        Positions(options.into / f".{mark}simulate-{plant.name}.json"),
        seed=options.seed,
        machines=machines,
        rows=options.rows_per_file,
        files=options.files,
        start_at=options.start_at,
        mark=mark,
    )


def _recorded_profile(options: argparse.Namespace, plant: Plant | None) -> Profile:
    if not options.source.is_file():
        raise UsageError(f"{options.source} is no file.", "Give the path of a CSV file.")
    profile = plant.profile if plant else profiles.load(Path(options.plant))
    if "csv" not in profile.file.formats:
        raise UsageError(f"The files of profile {profile.name!r} are no CSV.", "Only CSV files can be played.")
    return profile


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


if __name__ == "__main__":
    sys.exit(main())
