"""Runs and limits -> one summary: medians, ratios, sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any

from tests.bench import machine, steps
from tests.bench.journey import DIRECT, STEPPED

# What is aimed at for a file of a million rows.
GOAL_SECONDS = 2.0  # more than raw scoring and raw COPY of the same rows
GOAL_MIB = 700

PHASES = {"ingest": "from the drop folder to good rows", "predict": "from good rows to committed predictions"}
_LIBRARIES = {
    steps.COPY_IN: "copy with fsync, and SHA-256",
    steps.READ: "pl.read_csv, all text",
    steps.CHECK: "casts and rules in plain Polars",
    steps.GOOD: "write_parquet with fsync",
    steps.READ_PART: "pl.read_parquet",
    steps.FEATURES: "the same, all rows at once",
    steps.SCORE: "onnxruntime alone",
    steps.STORE: "COPY of the same rows from memory, and one commit",
}

Journeys = Mapping[str, Sequence[Mapping[str, Any]]]


def summary(journeys: Journeys, limits: Mapping[str, Any], rows: int, size: int, command: str) -> dict[str, Any]:
    stepped = journeys[STEPPED]
    parts = stepped[0]["predict"]["done"]["parts"]
    times: Mapping[str, Sequence[float]] = limits["times"]
    alone = _alone(times)
    ways = {way: _way(runs, rows) for way, runs in journeys.items()}
    raw = alone[steps.SCORE] + alone[steps.STORE]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "command": command,
        "machine": machine.facts(),
        "rows": rows,
        "parts": parts,
        "file_mib": round(size / machine.MIB, 1),
        "repeats": len(stepped),
        "steps": [row for phase in PHASES for row in _steps(phase, stepped, rows, alone)],
        "ways": ways,
        "start": {name: _median(run[name]["wall"] for run in stepped) for name in ("imports", "model")},
        "limits": {name: _rounded(median(taken)) for name, taken in times.items()},
        "goal": {
            "seconds": _rounded(raw + GOAL_SECONDS),
            "taken": ways[DIRECT]["seconds"],
            "mib": GOAL_MIB,
            "taken_mib": max(way["memory_mib"] for way in ways.values()),
        },
        "others": round(max(limits["others"], *(way["others"] for way in ways.values())), 3),
    }


def _alone(limits: Mapping[str, Sequence[float]]) -> dict[str, float]:
    found = {name: median(times) for name, times in limits.items()}
    found[steps.COPY_IN] = found["copy"] + found["hash"]
    return found


def _steps(
    phase: str, runs: Sequence[Mapping[str, Any]], rows: int, alone: Mapping[str, float]
) -> list[dict[str, Any]]:
    done = []
    for name in runs[0][phase]["steps"]:
        spent = [run[phase]["steps"][name] for run in runs]
        wall = _median(s["wall"] for s in spent)
        library = _LIBRARIES.get(name)
        done.append(
            {
                "phase": phase,
                "step": name,
                "seconds": wall,
                "cpu": _median(s["cpu"] for s in spent),
                "database_cpu": _median(s["database"] for s in spent),
                "rows_per_second": round(rows / wall) if library else None,
                "library": library,
                "library_seconds": _rounded(alone[name]) if library else None,
                "ratio": round(wall / alone[name], 2) if library else None,
            }
        )
    return done


def _way(runs: Sequence[Mapping[str, Any]], rows: int) -> dict[str, Any]:
    totals = [sum(run[phase]["whole"]["wall"] for phase in PHASES) for run in runs]
    taken = _median(totals)
    return {
        **{phase: _median(run[phase]["whole"]["wall"] for run in runs) for phase in PHASES},
        "seconds": taken,
        "least": _rounded(min(totals)),
        "most": _rounded(max(totals)),
        "rows_per_second": round(rows / taken),
        "cpu": _median(sum(run[phase]["whole"]["cpu"] for phase in PHASES) for run in runs),
        "api_cpu": _median(run["api_cpu"] for run in runs),
        "database_cpu": _median(sum(run[phase]["whole"]["database"] for phase in PHASES) for run in runs),
        "memory_before_mib": round(max(run["memory_before_mib"] for run in runs)),
        "memory_mib": round(max(run["memory_mib"] for run in runs)),
        "memory_api_mib": round(max(run.get("memory_api_mib", 0) for run in runs)),
        "others": round(median(run["others"] for run in runs), 3),
    }


def _median(values: Any) -> float:
    return _rounded(median(values))


def _rounded(value: float) -> float:
    return round(value, 4)
