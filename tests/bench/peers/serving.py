"""Predictions that are not stored, over HTTP from 8 clients: the appliance beside servers that are made for models.

All serve the same ONNX bytes by ONNX Runtime with the same threads, from one worker, as JSON both ways, on loopback. Each
of the others is run as it comes and, where it can, putting waiting requests together; the better of the two counts.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl

from appliance import bundle, features, signing
from appliance.api import schema
from appliance.profile import Profile
from tests.bench import load, machine, workplace
from tests.bench.patience import say
from tests.bench.peers import environments, processes
from tests.bench.peers.environments import CannotBeHad
from tests.bench.workplace import Workplace

CLIENTS = 8
ROWS = (1, 100)
OURS = "the appliance"
THREADS = 2  # of the scorer, as settings say
_SAME = 1e-6
_WARM_SECONDS = 1.0
_TRIES, _SECONDS_BETWEEN_TRIES = 60, 0.5


@dataclass(frozen=True)
class Peer:
    """``words``: what starts it, after the interpreter; ``prepare`` writes what it wants to find in its folder."""

    title: str
    name: str
    path: str
    words: Callable[[int], list[str]]
    body: Callable[[list[list[float]]], dict[str, Any]]
    answer: Callable[[Any], list[float]]
    prepare: Callable[[Path, int, bool], None] = lambda folder, port, together: None


def _inputs(matrix: list[list[float]]) -> dict[str, Any]:
    return {"inputs": matrix}


def _v2(matrix: list[list[float]]) -> dict[str, Any]:
    flat = [value for row in matrix for value in row]
    shape = [len(matrix), len(matrix[0])]
    return {"inputs": [{"name": "inputs", "shape": shape, "datatype": "FP32", "data": flat}]}


def _mlserver(folder: Path, port: int, together: bool) -> None:
    settings = {
        "host": "127.0.0.1",
        "http_port": port,
        "grpc_port": processes.free_port(),
        "metrics_endpoint": None,
        "parallel_workers": 0,  # in the process itself: quicker than one worker behind a queue
        "debug": False,
        "gzip_enabled": False,
    }
    model: dict[str, Any] = {"name": "forest", "implementation": "mlserver_forest.Forest"}
    if together:
        model |= {"max_batch_size": 64, "max_batch_time": 0.001}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))


PEERS = (
    Peer(
        "MLServer",
        "mlserver",
        "/v2/models/forest/infer",
        lambda port: ["-c", "from mlserver.cli import main; main()", "start", "."],
        _v2,
        lambda said: said["outputs"][0]["data"][:: said["outputs"][0]["shape"][1]],
        _mlserver,
    ),
    Peer(
        "LitServe",
        "litserve",
        "/predict",
        lambda port: [str(environments.THEIRS / "litserve_forest.py"), str(port)],
        _inputs,
        lambda said: [row[0] for row in said["outputs"]],
    ),
    Peer(
        "BentoML",
        "bentoml",
        "/predict",
        lambda port: ["-m", "bentoml", "serve", "bentoml_forest:Forest", "--host", "127.0.0.1", "--port", str(port)],
        _inputs,
        lambda said: [row[0] for row in said],
    ),
)


def measure(place: Workplace, rounds: int, seconds: float) -> dict[str, Any]:
    """Requests a second and times of all servers in turns; which of them could not be had, and why."""
    measured: dict[str, dict[str, list[dict[str, float]]]] = {}
    missing: dict[str, str] = {}
    pythons: dict[str, Path] = {}
    for peer in PEERS:
        try:
            pythons[peer.name] = environments.python(peer.name)
        except CannotBeHad as reason:
            missing[peer.title] = str(reason)
    others = machine.Others(os.getpid(), place.database_pid)
    served = bundle.active(place.shelf / "models", workplace.PROFILE, signing.trusted_keys(place.shelf / "keys"))
    model = place.folder / "model.onnx"
    model.write_bytes(served.model_bytes)
    questions = {rows: _question(served.profile, rows) for rows in ROWS}
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}: {OURS}")
        found, wanted = _ours(place, served.profile, questions, seconds)
        _add(measured, OURS, found)
        for peer, together in itertools.product(PEERS, (False, True)):
            title = f"{peer.title}{_TOGETHER if together else ''}"
            if peer.title in missing or title in missing:
                continue
            say(f"round {number + 1} of {rounds}: {title}")
            folder = place.folder / f"{peer.name}-{number}-{together}"
            folder.mkdir()
            try:
                found = _theirs(peer, pythons[peer.name], folder, model, together, questions, wanted, seconds)
            except CannotBeHad as reason:
                missing[title] = str(reason)
                measured.pop(title, None)
                continue
            _add(measured, title, found)
    return {
        "rounds": rounds,
        "seconds": seconds,
        "servers": {
            title: {rows: _median(several) for rows, several in ways.items()} for title, ways in measured.items()
        },
        "missing": missing,
        "others": others.share(),
    }


_TOGETHER = ", requests put together"


def _add(
    measured: dict[str, dict[str, list[dict[str, float]]]], title: str, found: dict[str, dict[str, float]]
) -> None:
    for rows, one in found.items():
        measured.setdefault(title, {}).setdefault(rows, []).append(one)


def _median(several: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in several) for name in several[0]}


def _question(profile: Profile, count: int) -> tuple[list[dict[str, Any]], list[list[float]]]:
    """Readings as the appliance is asked, and the matrix that the others are: its features, made already."""
    row = schema.example_row(profile)
    number = next(
        column for column in profile.columns if column.type == "number" and column.name in profile.model.inputs
    )
    rows = [{**row, number.name: row[number.name] + step / 100} for step in range(count)]
    types = {column.name: features.dtype(column) for column in profile.columns if column.name in row}
    matrix = features.matrix(profile, pl.DataFrame(rows, schema=types))
    return rows, matrix.astype(np.float64).tolist()


def _ours(
    place: Workplace, profile: Profile, questions: Mapping[int, Any], seconds: float
) -> tuple[dict[str, dict[str, float]], dict[int, list[float]]]:
    """What it does, and the probabilities that it answers."""
    port = processes.free_port()
    with place.box() as box, workplace.api(box, port) as (pid, reached):
        headers = {"authorization": f"Bearer {reached['APPLIANCE_API_TOKEN']}", "content-type": "application/json"}
        path = f"/predict?profile={profile.name}&store=false"
        found, answers = {}, {}
        for rows, (readings, _) in questions.items():
            body = json.dumps({"rows": readings, "machine": workplace.MACHINE}).encode()
            said = httpx.post(
                f"http://127.0.0.1:{port}{path}", content=body, headers=headers, trust_env=False, timeout=60
            )
            answers[rows] = [one["probability"] for one in said.raise_for_status().json()["predictions"]]
            found[str(rows)] = _loaded(box.data, port, pid, load.request(path, body, headers), seconds)
        return found, answers


def _theirs(
    peer: Peer,
    interpreter: Path,
    folder: Path,
    model: Path,
    together: bool,
    questions: Mapping[int, Any],
    wanted: Mapping[int, list[float]],
    seconds: float,
) -> dict[str, dict[str, float]]:
    port = processes.free_port()
    peer.prepare(folder, port, together)
    env = environments.variables(
        BENCH_MODEL=str(model), BENCH_THREADS=str(THREADS), BENCH_TOGETHER="yes" if together else "no"
    )
    with processes.served([str(interpreter), *peer.words(port)], port, env, folder) as pid:
        found = {}
        for rows, (_, matrix) in questions.items():
            body = json.dumps(peer.body(matrix)).encode()
            _demand_same(peer, port, body, wanted[rows])
            request = load.request(peer.path, body, {"content-type": "application/json"})
            found[str(rows)] = _loaded(folder, port, pid, request, seconds)
        return found


def _demand_same(peer: Peer, port: int, body: bytes, wanted: list[float]) -> None:
    """Answers of the appliance and of the peer are of the same model; it may still be on its way when it listens."""
    address, headers = f"http://127.0.0.1:{port}{peer.path}", {"content-type": "application/json"}
    said: httpx.Response | None = None
    for _ in range(_TRIES):
        with suppress(httpx.TransportError):
            said = httpx.post(address, content=body, headers=headers, trust_env=False, timeout=60)
            if said.is_success:
                break
        time.sleep(_SECONDS_BETWEEN_TRIES)
    if said is None or not said.is_success:
        reason = f"status {said.status_code}: {said.text[:200]}" if said is not None else "nothing"
        raise CannotBeHad(f"it answers with {reason}")
    given = peer.answer(said.json())
    if not np.allclose(given, wanted, atol=_SAME):
        raise RuntimeError(f"{peer.title} gives {given[:3]} where the appliance gives {wanted[:3]}")


def _loaded(folder: Path, port: int, pid: int, request: bytes, seconds: float) -> dict[str, float]:
    file = folder / "request"
    file.touch(mode=0o600)
    file.write_bytes(request)
    words = ["-m", "tests.bench.load", f"127.0.0.1:{port}", str(file), "--clients", str(CLIENTS), "--seconds"]
    workplace.run([*words, str(_WARM_SECONDS)], os.environ)
    before = machine.tree_seconds(pid)
    one = workplace.run_json([*words, str(seconds)], os.environ)
    spent = machine.tree_seconds(pid) - before
    times = sorted(one["times"])
    return {
        "per_second": len(times) / one["seconds"],
        "p50_ms": 1000 * statistics.median(times),
        "p99_ms": 1000 * times[int(len(times) * 0.99)],
        "cpu_ms": 1000 * spent / len(times),
    }


def markdown(found: Mapping[str, Any]) -> str:
    servers: Mapping[str, Any] = found["servers"]
    blocks = []
    for rows in ROWS:
        lines = []
        for title, ways in sorted(servers.items(), key=lambda pair: -pair[1][str(rows)]["per_second"]):
            one = ways[str(rows)]
            lines.append(
                f"| {title} | {one['per_second']:,.0f} | {one['p50_ms']:.1f} | {one['p99_ms']:.1f} | {one['cpu_ms']:.2f} |"
            )
        ours = servers[OURS][str(rows)]["per_second"]
        best, best_title = max(
            ((ways[str(rows)]["per_second"], title) for title, ways in servers.items() if title != OURS),
            default=(0.0, "nobody"),
        )
        verdict = (
            f"The appliance is ahead of all: {ours / best:.1f} times {best_title}."
            if best and ours >= best
            else f"The appliance is not ahead: {ours / best:.2f} times {best_title}."
            if best
            else "No peer could be had."
        )
        table = "\n".join(lines)
        blocks.append(
            f"### {rows} row{'s' if rows > 1 else ''} a request\n\n"
            f"| server | requests/s | p50 ms | p99 ms | its CPU ms a request |\n| --- | ---: | ---: | ---: | ---: |\n{table}\n\n{verdict}\n"
        )
    versions = ", ".join(f"{peer.title} {environments.version(peer.name, peer.name)}" for peer in PEERS)
    missing = "".join(f"\n- {title} could not be had here: {reason}" for title, reason in found["missing"].items())
    joined = "\n".join(blocks)
    return f"""## Predictions without storing, beside model servers

{CLIENTS} clients, each with its next request as soon as its last one was answered; the same ONNX bytes in ONNX Runtime, {THREADS} threads,
one worker, JSON both ways. {versions}. Medians of {found["rounds"]} rounds of {found["seconds"]:g} s in turns. The others get the
features made already and answer with numbers; the appliance gets readings, knows who asks, checks the contract, makes the
features, and answers with verdict and reason as well.
{missing}
{joined}"""
