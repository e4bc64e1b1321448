"""Small labelled data of both profiles, and models of it that take a second to make."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from appliance import bundle_check, features, signing
from appliance import profile as profiles
from appliance.profile import MACHINE, ROW, TIME, Profile
from model import evaluate, export, forest, package
from model.card import Origin
from model.data import TrainingData, TrainingFile
from model.forest import Forest
from tests.profiles import load, text

TREES = 8
CREATED = datetime(2026, 3, 1, 12, tzinfo=UTC)


def rows(profile: Profile, count: int = 800, seed: int = 1) -> pl.DataFrame:
    """Validated rows with labels, about one in ten a failure."""
    draw = np.random.default_rng(seed)
    return _milling(count, draw) if profile.name.startswith("milling") else _pump(count, draw)


def with_threshold(profile: Profile, threshold: float) -> Profile:
    """The profile with costs from which that threshold follows."""
    costs = profile.costs.model_copy(update={"false_alarm": threshold, "missed_failure": 1 - threshold})
    return profile.model_copy(update={"costs": costs})


def training_data(profile: Profile, frame: pl.DataFrame | None = None) -> TrainingData:
    """What ``model.data.read`` would give for these rows."""
    found = rows(profile) if frame is None else frame
    featured = features.feature_frame(profile, found)
    label = profile.label
    assert label is not None
    names = [label.name, *(mode.column for mode in profile.modes)]
    digest = hashlib.sha256(found.write_csv().encode()).hexdigest()
    return TrainingData(
        profile=profile,
        featured=featured,
        matrix=features.matrix_of(profile, featured),
        targets=featured.select(pl.col(n).cast(pl.Float64) for n in names).to_numpy().astype(np.float64),
        machines=featured[MACHINE].to_numpy().astype(np.str_),
        files=(TrainingFile("rows.csv", digest, featured.height, 0),),
        issues=(),
        rows_without_label=0,
    )


@functools.cache
def small_forest(name: str, trees: int = TREES) -> tuple[TrainingData, Forest, bytes]:
    """Data of a shipped profile, a forest on it, and its ONNX form."""
    data = training_data(load(name))
    model = forest.fit(data.profile, data.matrix, data.targets, seed=0, trees=trees)
    return data, model, export.convert(model, data.profile)


@functools.cache
def files(name: str, seed: int = 0, profile_text: str | None = None) -> Mapping[str, bytes]:
    """The files of a bundle, not yet signed."""
    described = text(name) if profile_text is None else profile_text
    data = training_data(profiles.parse(described))
    evaluation = evaluate.cross_validate(data, 2, seed, TREES)
    model = forest.fit(data.profile, data.matrix, data.targets, seed, TREES)
    model_bytes = export.convert(model, data.profile)
    probes = export.probes(model, data.profile, data.featured, data.matrix, seed)
    proof = export.demand_parity(model, model_bytes, data.profile, [data.matrix, *probes.values()])
    content = package.content(data, model_bytes, 2, seed)
    origin = Origin(package.version(CREATED, content), content, CREATED, seed, 2, TREES, 1.0)
    return package.files(data, evaluation, model, model_bytes, proof, origin, described, probes)


def write_signed(folder: Path, contents: Mapping[str, bytes], key: Path, sums: bytes | None = None) -> Path:
    """A bundle's folder with these contents, properly signed, whatever they are."""
    folder.mkdir(parents=True)
    if sums is None:
        lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(contents.items())]
        sums = "".join(lines).encode()
    every = {**contents, bundle_check.SUMS: sums, bundle_check.SIGNATURE: signing.sign(key, sums)}
    for name, data in every.items():
        (folder / name).write_bytes(data)
    return folder


def _milling(count: int, draw: np.random.Generator) -> pl.DataFrame:
    air = draw.normal(300, 2, count).round(1)
    process = (air + draw.normal(9.6, 1, count)).round(1)
    speed = draw.normal(1500, 160, count).round().clip(1100, 2900)
    torque = draw.normal(42, 12, count).round(1).clip(1, 90)
    wear = draw.integers(0, 250, count).astype(np.float64)
    heat = (process - air < 8.6) & (speed < 1380)
    power = (torque * speed * 2 * np.pi / 60 < 3500) | (torque * speed * 2 * np.pi / 60 > 9000)
    strain = wear * torque > 12000
    worn = (wear > 200) & (draw.random(count) < 0.2)
    return pl.DataFrame(
        {
            "udi": np.arange(1, count + 1),
            "product_id": [f"M{n:05d}" for n in range(count)],
            "type": draw.choice(["L", "M", "H"], count),
            "air_temperature": air,
            "process_temperature": process,
            "speed": speed,
            "torque": torque,
            "tool_wear": wear,
            "machine_failure": heat | power | strain | worn,
            "twf": worn,
            "hdf": heat,
            "pwf": power,
            "osf": strain,
            "rnf": draw.random(count) < 0.002,
            ROW: np.arange(1, count + 1),
            MACHINE: ["mill-1"] * count,
            TIME: [CREATED] * count,
        },
        schema_overrides={TIME: pl.Datetime("us", "UTC")},
    )


def _pump(count: int, draw: np.random.Generator) -> pl.DataFrame:
    machines = [f"P-{n % 10 + 1:02d}" for n in range(count)]
    temperature = draw.normal(60, 8, count).round(1)
    vibration = draw.gamma(3, 1.4, count).round(2).clip(0, 60)
    failed = (vibration > 8) | ((temperature > 70) & (draw.random(count) < 0.5))
    times = [CREATED + timedelta(minutes=10 * (n // 10)) for n in range(count)]
    return pl.DataFrame(
        {
            "pump": machines,
            "measured_at": times,
            "fluid": draw.choice(["water", "glycol", "emulsion"], count),
            "temperature": [None if draw.random() < 0.1 else float(t) for t in temperature],
            "vibration": vibration,
            "pressure": draw.normal(6, 0.6, count).round(2).clip(0, 25),
            "failed": failed,
            "bearing_failure": vibration > 8,
            ROW: np.arange(1, count + 1),
            MACHINE: machines,
            TIME: times,
        },
        schema_overrides={"measured_at": pl.Datetime("us", "UTC"), TIME: pl.Datetime("us", "UTC")},
    )
