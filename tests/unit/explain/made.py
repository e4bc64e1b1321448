"""Bundles out of small models, without a shelf."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from appliance import bundle_check
from appliance import profile as profiles
from appliance.bundle_check import Bundle, Golden
from appliance.scorer import Scorer
from appliance.serving import Served
from tests import small_models


@functools.cache
def served(name: str, profile_text: str | None = None, model_bytes: bytes | None = None) -> Served:
    """A small model of a shipped profile, or of a text that is like one; with another ONNX file, where one is given."""
    files = small_models.files(name, profile_text=profile_text)
    text = files[bundle_check.PROFILE].decode()
    profile = profiles.parse(text)
    nothing = np.zeros((0, 0), dtype=np.float32)
    card = json.loads(files[bundle_check.CARD])
    bundle = Bundle(
        folder=Path("nowhere"),
        version=card["version"],
        profile=profile,
        profile_text=text,
        card=card,
        card_text="",
        model_bytes=model_bytes or files[bundle_check.MODEL],
        reference_bytes=files[bundle_check.REFERENCE],
        golden=Golden(nothing, nothing, np.zeros(0, dtype=np.bool_)),
        digest="0" * 64,
    )
    return Served(bundle, Scorer(bundle.model_bytes, profile, threads=1))


def vector(values: NDArray[np.float32]) -> list[float | None]:
    """Features as the store gives them."""
    return [None if np.isnan(value) else float(value) for value in values]
