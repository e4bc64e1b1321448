"""A file of 100,000 rows from the drop folder to committed predictions: the appliance beside the usual modern pipeline.

The usual one: pandas, table checks of Great Expectations, requests of 1000 rows as JSON to FastAPI with the same forest out of
joblib, ``to_sql`` into the same table with the same indexes. Both on the same PostgreSQL with durability on, both with
all they import in memory and their servers up before time begins. The rows are the same, and so must the answers be.
"""

from __future__ import annotations

import csv
import json
import os
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2

from appliance import bundle, signing
from appliance.profile import Profile
from appliance.store import engine as engines
from appliance.store import models, writer
from tests.bench import machine, workplace
from tests.bench.journey import API
from tests.bench.patience import say
from tests.bench.peers import environments, processes
from tests.bench.workplace import Place, Workplace

NAME = "pipeline"
ROWS = 100_000
GOAL_TIMES = 12.0
# Of each so many rows one breaks a rule, another one each time.
SPOILED = 100
# Leaves are rounded so that both add up exactly; a real keeps 24 bits.
_SAME = 1e-6

Answers = dict[int, tuple[float, bool]]


def measure(place: Workplace, rounds: int) -> dict[str, Any]:
    """Seconds of both, round by round in turns; RuntimeError where the answers are not the same."""
    interpreter = environments.python(NAME)
    spoil(place.source)
    forest = place.folder / "forest.joblib"
    training = place.folder / workplace.TRAINING
    workplace.run(["-m", "tests.bench.peers.forest", str(training), str(forest)], os.environ)
    others = machine.Others(os.getpid(), place.database_pid)
    ours: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}: the appliance")
        one, answers = _ours(place)
        ours.append(one)
        say(f"round {number + 1} of {rounds}: the usual pipeline")
        one, others_answers = _theirs(place, interpreter, forest)
        theirs.append(one)
        demand_same(answers, others_answers)
    taken, took = ([one["seconds"] for one in several] for several in (ours, theirs))
    return {
        "rows": theirs[0]["good"] + theirs[0]["bad"],
        "good": theirs[0]["good"],
        "bad": theirs[0]["bad"],
        "failing": sum(failing for _, failing in answers.values()),
        "rounds": rounds,
        "ours": statistics.median(taken),
        "theirs": statistics.median(took),
        "spread": {"ours": [min(taken), max(taken)], "theirs": [min(took), max(took)]},
        "cpu": {
            name: statistics.median(one["cpu"] for one in several)
            for name, several in (("ours", ours), ("theirs", theirs))
        },
        "steps": {name: statistics.median(one["steps"][name] for one in theirs) for name in theirs[0]["steps"]},
        "times": statistics.median(took) / statistics.median(taken),
        "others": others.share(),
    }


def spoil(path: Path) -> None:
    """Break one row of a hundred: out of range, no number, an unknown category, an empty cell, a wrong id, a repetition."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    columns = {name: place for place, name in enumerate(header)}
    wrong = [
        ("Air temperature [K]", "999"),
        ("Rotational speed [rpm]", "fast"),
        ("Type", "X"),
        ("Torque [Nm]", ""),
        ("Product ID", "none"),
    ]
    for kind, place in enumerate(range(SPOILED, len(rows), SPOILED)):
        turn = kind % (len(wrong) + 1)
        if turn == len(wrong):
            rows[place] = list(rows[place - 1])
        else:
            name, cell = wrong[turn]
            rows[place][columns[name]] = cell
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def _ours(place: Workplace) -> tuple[dict[str, float], Answers]:
    """Seconds on the wall, and of CPU in the passes, the API and the database."""
    with place.box() as box, workplace.api(box) as (pid, reached):
        words = ["-m", "tests.bench.journey", "--way", API, "--database", str(place.database_pid), "--api", str(pid)]
        found = workplace.run_json(words, reached)
        wholes = [found[phase]["whole"] for phase in ("ingest", "predict")]
        cpu = found["api_cpu"] + sum(one["cpu"] + one["database"] for one in wholes)
        return {"seconds": sum(one["wall"] for one in wholes), "cpu": cpu}, _answers(box.dsn)


def _theirs(place: Workplace, interpreter: Path, forest: Path) -> tuple[dict[str, Any], Answers]:
    with place.box() as box:
        keys = signing.trusted_keys(box.data / "keys")
        served = bundle.active(box.data / "models", workplace.PROFILE, keys)
        folder = box.data / "usual"
        folder.mkdir()
        facts = folder / "facts.json"
        facts.write_text(json.dumps(server_facts(served.profile)), encoding="utf-8")
        port = processes.free_port()
        words = [str(interpreter), str(environments.THEIRS / "usual_server.py"), str(forest), str(facts), str(port)]
        asked = {
            "file": str(next((box.data / "raw_data").rglob(workplace.FILE))),
            "folder": str(folder),
            "server": f"http://127.0.0.1:{port}",
            "dsn": box.dsn,
            "columns": rules(served.profile),
            "inputs": {column.header: column.name for column in _readings(served.profile)},
            "constant": _constant(box, served.profile, served.card),
        }
        with processes.served(words, port, environments.variables(), folder) as pid:
            before = machine.tree_seconds(pid, place.database_pid)
            done = subprocess.run(
                [str(interpreter), str(environments.THEIRS / "usual.py")],
                env=environments.variables(),
                input=json.dumps(asked),
                stdout=subprocess.PIPE,
                text=True,
                check=False,
            )
            beside = machine.tree_seconds(pid, place.database_pid) - before
        if done.returncode:
            raise RuntimeError(f"the usual pipeline ended with {done.returncode}")
        found = json.loads(done.stdout.splitlines()[-1])
        return {**found, "cpu": found["cpu"] + beside}, _answers(box.dsn)


def rules(profile: Profile) -> list[dict[str, Any]]:
    """The contract, column by column, in words that need nothing of ours."""
    return [
        {
            "header": column.header,
            "type": column.type,
            "required": column.required and not column.nullable,
            "minimum": column.minimum,
            "maximum": column.maximum,
            "categories": list(column.categories),
            "pattern": column.pattern,
        }
        for column in profile.columns
    ]


def server_facts(profile: Profile) -> dict[str, Any]:
    """What makes features of readings, and a verdict of a probability."""
    readings = _readings(profile)
    return {
        "readings": {column.name: column.type for column in readings},
        "features": {one.name: (one.sql or "").replace("pi()", repr(np.pi)) for one in profile.features},
        "ordered": {column.name: list(column.categories) for column in readings if column.ordered},
        "inputs": list(profile.matrix_names),
        "threshold": profile.threshold,
    }


def _readings(profile: Profile) -> list[Any]:
    """The columns that features are made of."""
    derived = " ".join(one.sql or "" for one in profile.features)
    return [
        column for column in profile.columns if column.name in profile.model.inputs or column.name in derived.split()
    ]


def _constant(box: Place, profile: Profile, card: Mapping[str, Any]) -> dict[str, int]:
    """What is the same in all rows of the table; the month's partition is there before time begins, as on any other day."""
    engine = engines.connect(box.dsn, "bench")
    with engines.transaction(engine) as connection:
        profile_id = models.ensure_profile(connection, profile)
        features, modes = profile.matrix_names, [mode.name for mode in profile.modes]
        model_id = models.ensure_model(connection, profile_id, "usual", card, True, features, modes)
        [machine_id] = models.ensure_machines(connection, profile_id, [workplace.MACHINE]).values()
        writer.ensure_partition(connection, datetime.now(UTC))
    engine.dispose()
    return {"profile_id": profile_id, "model_id": model_id, "machine_id": machine_id}


def _answers(dsn: str) -> Answers:
    session = psycopg2.connect(dsn)
    with session.cursor() as cursor:
        cursor.execute('SELECT "row", probability, failing FROM prediction')
        found = {row: (probability, failing) for row, probability, failing in cursor}
    session.close()
    return found


def demand_same(ours: Answers, theirs: Answers) -> None:
    """RuntimeError where other rows were predicted, or one otherwise."""
    if ours.keys() != theirs.keys():
        one = min(ours.keys() ^ theirs.keys())
        raise RuntimeError(
            f"row {one} was predicted by {'the appliance' if one in ours else 'the usual pipeline'} alone"
        )
    for row, (probability, failing) in ours.items():
        if abs(probability - theirs[row][0]) > _SAME or failing != theirs[row][1]:
            raise RuntimeError(f"row {row}: {probability}, {failing} and {theirs[row]}")


def markdown(found: Mapping[str, Any]) -> str:
    steps = found["steps"]
    titles = {
        "read": "pandas reads and types the file",
        "check": "Great Expectations checks the table",
        "files": "good and bad rows as files",
        "predict": "FastAPI and joblib, 1000 rows a request",
        "store": "`to_sql`",
    }
    versions = ", ".join(f"{package} {environments.version(NAME, package)}" for package in _PACKAGES)
    lines = "\n".join(f"| {titles[name]} | {seconds:.2f} |" for name, seconds in steps.items())
    kept = "kept" if found["times"] >= GOAL_TIMES else "not kept"
    spread: Mapping[str, Sequence[float]] = found["spread"]
    cpu: Mapping[str, float] = found["cpu"]
    return f"""## A file, beside the usual modern pipeline

{found["rows"]:,} rows, of which {found["good"]:,} are good and {found["failing"]:,} fail; both find the same rows good, and give each the same
probability and verdict. {versions}; the same forest of scikit-learn that the appliance's model was made from. Medians of
{found["rounds"]} rounds in turns.

| what | seconds | CPU s, all processes |
| --- | ---: | ---: |
| the appliance, from the drop folder to committed predictions | {found["ours"]:.2f} ({spread["ours"][0]:.2f} to {spread["ours"][1]:.2f}) | {cpu["ours"]:.2f} |
| the usual pipeline | {found["theirs"]:.2f} ({spread["theirs"][0]:.2f} to {spread["theirs"][1]:.2f}) | {cpu["theirs"]:.2f} |
| **times** | **{found["times"]:.1f}** (aim: at least {GOAL_TIMES:.0f}, {kept}) | {cpu["theirs"] / cpu["ours"]:.1f} |

Of the usual pipeline:

| step | seconds |
| --- | ---: |
{lines}

Neither counts imports and the start of its server. The appliance meanwhile also copies and hashes the file, writes a ledger and
durable files, keeps each machine's state and alarms, and counts for drift, which the usual pipeline is spared.
"""


_PACKAGES = ("pandas", "great-expectations", "fastapi", "scikit-learn", "joblib", "sqlalchemy")
