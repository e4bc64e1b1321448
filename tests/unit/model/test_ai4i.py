"""The acceptance figures on the public milling data set, as held-out figures of five folds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance import bundle, signing
from model import train
from tests.datasets import dataset


def test_the_milling_model_is_as_good_as_it_has_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = dataset("ai4i2020.csv")
    key = tmp_path / "keys" / "signing.key"
    words = ["--profile", "milling", "--data", str(data), "--models", str(tmp_path / "models"), "--key", str(key)]
    assert train.main([*words, "--json", "--activate"]) == 0
    told = json.loads(capsys.readouterr().out)
    figures = {name: figure["mean"] for name, figure in told["cv"].items()}
    assert figures["average_precision"] >= 0.90
    assert figures["f1_at_50"] >= 0.88
    assert figures["recall_at_p90"] >= 0.82
    assert figures["brier"] <= 0.0068
    # More than the documented rules and the wear hazard can give would be a leak.
    assert figures["average_precision"] <= 0.93
    assert told["limits_alone"]["precision"] == 1.0
    assert round(told["limits_alone"]["recall"], 3) == 0.847
    assert told["rows"] == 10_000
    assert told["parity"]["rows"] > 40_000
    assert told["parity"]["max_abs_diff"] == 0.0
    assert told["parity"]["verdict_differences"] == 0
    active = bundle.active(tmp_path / "models", "milling", signing.trusted_keys(key.parent))
    assert active.version == told["version"]
    assert active.card["data"]["failures"] == 339
