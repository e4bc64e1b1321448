"""Whether a folder is a bundle that may serve: every doubt is a refusal, and nothing is parsed before it is trusted.

The order is the point. Names, kinds and sizes first; then the signature over the list of checksums; then the checksums;
then profile and card; then the model's protobuf; and only then ONNX Runtime, which has to give the golden rows' results.
Each file is read once: what was checked is what is used.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from numpy.typing import NDArray

from appliance import contract, features, onnx_gate, signing
from appliance import profile as profiles
from appliance.errors import BundleRefused, ProfileError
from appliance.profile import Profile
from appliance.scorer import Scorer

MODEL, PROFILE, CARD, CARD_TEXT = "model.onnx", "profile.toml", "card.json", "card.md"
REFERENCE, GOLDEN = "reference.parquet", "golden.json"
PLOTS = ("precision_recall.png", "calibration.png", "importance.png")
SUMS, SIGNATURE = "SHA256SUMS", "SHA256SUMS.sig"

_KIB, _MIB = 1024, 1024 * 1024
# Every file of a bundle and its largest size in bytes; a bundle holds these and no other.
SIGNED: Mapping[str, int] = {
    MODEL: 256 * _MIB,
    PROFILE: _MIB,
    CARD: 4 * _MIB,
    CARD_TEXT: _MIB,
    REFERENCE: 64 * _MIB,
    GOLDEN: 16 * _MIB,
    **dict.fromkeys(PLOTS, 4 * _MIB),
}
FILES: Mapping[str, int] = {**SIGNED, SUMS: 16 * _KIB, SIGNATURE: signing.SIGNATURE_BYTES}

VERSION = re.compile(r"[a-z0-9][a-z0-9.-]{0,60}")
# How far a float32 runtime may be from scikit-learn; a forest's own sums agree to the last bit.
TOLERANCE = 1e-5
GOLDEN_ROWS = 50

_SUM_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9_.]+)")
_COPY_AGAIN = "Copy the whole folder again from where it was trained."


@dataclass(frozen=True, slots=True)
class Golden:
    """Rows whose results are known from training, which a bundle has to reproduce wherever it is installed."""

    matrix: NDArray[np.float32]  # (rows, features); NaN is missing
    expected: NDArray[np.float32]  # (rows, 1 + modes)
    failing: NDArray[np.bool_]  # (rows,)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle: the bytes and tables that were checked, whatever happens to the folder afterwards."""

    folder: Path
    version: str
    profile: Profile
    profile_text: str
    card: Mapping[str, Any]
    card_text: str
    model_bytes: bytes
    reference_bytes: bytes
    golden: Golden
    digest: str  # SHA-256 (hex) of its list of checksums: names exactly this bundle

    def reference(self) -> pl.DataFrame:
        """The sample of training rows: a column for each of ``profile.matrix_names``, ``_probability``, ``_label``."""
        return pl.read_parquet(io.BytesIO(self.reference_bytes))


def verify(folder: Path, keys: Sequence[Ed25519PublicKey]) -> Bundle:
    """The bundle in a folder, or BundleRefused with the first reason why it may not serve."""
    files = trusted_files(folder, keys)
    profile = _profile(files[PROFILE])
    card = _card(files[CARD], profile)
    golden = _golden(files[GOLDEN], profile)
    onnx_gate.inspect(files[MODEL], profile)
    prove(Scorer(files[MODEL], profile, threads=1), golden)
    return Bundle(
        folder=folder,
        version=card["version"],
        profile=profile,
        profile_text=files[PROFILE].decode(),
        card=card,
        card_text=files[CARD_TEXT].decode(errors="replace"),
        model_bytes=files[MODEL],
        reference_bytes=files[REFERENCE],
        golden=golden,
        digest=hashlib.sha256(files[SUMS]).hexdigest(),
    )


def trusted_files(folder: Path, keys: Sequence[Ed25519PublicKey]) -> dict[str, bytes]:
    """The bytes of a bundle's files, each read once, whose checksums one of the keys signed."""
    files = _read(folder)
    signing.verify(keys, files[SUMS], files[SIGNATURE])
    for name, digest in _sums(files[SUMS]).items():
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise BundleRefused("checksum", f"{name} of the model in {folder} is not what was signed.", _COPY_AGAIN)
    return files


def identity(files: Mapping[str, bytes]) -> tuple[str, str]:
    """Profile name and version of a bundle of trusted files."""
    profile = _profile(files[PROFILE])
    return profile.name, str(_card(files[CARD], profile)["version"])


def profile_of(files: Mapping[str, bytes]) -> Profile:
    """The profile in a bundle's trusted files."""
    return _profile(files[PROFILE])


def _read(folder: Path) -> dict[str, bytes]:
    """Every file of the folder through one descriptor of it, so that nobody can swap the folder or a file meanwhile."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise BundleRefused(
            "folder",
            f"There is no model folder at {folder} ({error.strerror}).",
            "Name a folder; a link to one will not do.",
        ) from None
    try:
        found = set(os.listdir(descriptor))  # noqa: PTH208 - the folder that is open, not its name
        if missing := sorted(set(FILES) - found):
            raise BundleRefused("files", f"The model in {folder} lacks {', '.join(missing)}.", _COPY_AGAIN)
        if extra := sorted(found - set(FILES)):
            raise BundleRefused(
                "files",
                f"The model in {folder} holds {extra[0]!r}, which belongs to none.",
                "Take it out of the folder.",
            )
        return {name: _read_file(descriptor, folder, name, limit) for name, limit in FILES.items()}
    finally:
        os.close(descriptor)


def _read_file(folder_descriptor: int, folder: Path, name: str, limit: int) -> bytes:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder_descriptor)
    except OSError as error:
        raise BundleRefused("files", f"{name} in {folder} cannot be read ({error.strerror}).", _COPY_AGAIN) from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BundleRefused("files", f"{name} in {folder} is no regular file.", _COPY_AGAIN)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise BundleRefused("size", f"{name} in {folder} is larger than {limit:,} bytes.", "Train a smaller model.")
    return data


def _sums(data: bytes) -> dict[str, str]:
    """Name -> checksum. The names must be those of a bundle's files: a path in the list leads nowhere."""
    lines = [_SUM_LINE.fullmatch(line) for line in data.decode("ascii", errors="replace").splitlines()]
    sums = {line[2]: line[1] for line in lines if line is not None}
    if len(sums) != len(lines) or set(sums) != set(SIGNED):
        raise BundleRefused("sums", f"{SUMS} does not list exactly the files of a model.", _COPY_AGAIN)
    return sums


def _profile(data: bytes) -> Profile:
    try:
        profile = profiles.parse(data.decode("utf-8"), source=PROFILE)
        features.check(profile)
        contract.check(profile)
    except ProfileError as error:
        raise BundleRefused("profile", f"The model's profile is wrong: {error.message}") from None
    except (UnicodeDecodeError, RecursionError):
        raise BundleRefused("profile", "The model's profile is no TOML in UTF-8.") from None
    return profile


def _card(data: bytes, profile: Profile) -> dict[str, Any]:
    card = _json(data, CARD)
    version = card.get("version")
    if not isinstance(version, str) or not VERSION.fullmatch(version):
        raise BundleRefused("card", f"The model's card names no version, but {str(version)[:80]!r}.")
    if card.get("profile") != profile.name or card.get("profile_hash") != profile.hash():
        raise BundleRefused("card", "The model's card and its profile do not belong together.")
    return card


def _golden(data: bytes, profile: Profile) -> Golden:
    table = _json(data, GOLDEN)
    try:
        # null stands for a missing feature; None becomes NaN.
        with np.errstate(over="ignore"):
            matrix = np.asarray(table["matrix"], dtype=np.float64).astype(np.float32)
            expected = np.asarray(table["expected"], dtype=np.float64).astype(np.float32)
        failing = np.asarray(table["failing"])
    except (KeyError, TypeError, ValueError):
        raise _golden_refused("is no table of numbers") from None
    rows = len(matrix)
    shapes = ((rows, len(profile.matrix_names)), (rows, 1 + len(profile.modes)), (rows,))
    if (matrix.shape, expected.shape, failing.shape) != shapes or failing.dtype != np.bool_:
        raise _golden_refused("does not have the profile's shape")
    if rows < GOLDEN_ROWS:
        raise _golden_refused(f"holds {rows} rows, fewer than {GOLDEN_ROWS}")
    if not ((expected >= 0) & (expected <= 1)).all():
        raise _golden_refused("expects what is no probability")
    return Golden(matrix, expected, failing)


def _json(data: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise BundleRefused("card" if name == CARD else "golden", f"{name} of the model is no JSON object.")
    return value


def prove(scorer: Scorer, golden: Golden) -> None:
    """The self-test: the model gives the known results, here, on this processor and with this runtime.

    BundleRefused("self_test") where it does not.
    """
    scores = scorer.score(golden.matrix)
    given = np.column_stack([scores.probability, scores.modes])
    difference = float(np.abs(given - golden.expected).max())
    flipped = int((scores.failing != golden.failing).sum())
    if difference > TOLERANCE or flipped:
        raise BundleRefused(
            "self_test",
            f"The model misses its golden rows by {difference:.1e} (at most {TOLERANCE:g}), {flipped} verdicts differ.",
            "Do not use it here: train it again, and compare the versions of ONNX Runtime.",
        )


def _golden_refused(what: str) -> BundleRefused:
    return BundleRefused("golden", f"The model's {GOLDEN} {what}.", "Train it again with `appliance model train`.")
