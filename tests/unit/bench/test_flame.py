"""The picture of the road shows our functions, and no folder of this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.bench import flame
from tests.bench.workplace import ROOT


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into other processes everywhere")
def test_the_road_is_drawn(shelf: Path, tmp_path: Path) -> None:
    out = tmp_path / "road.svg"
    assert flame.main(["--rows", "20000", "--models", str(shelf), "--out", str(out)]) == 0
    drawn = out.read_text()
    assert "The road of 20,000 rows" in drawn
    assert "predict_part (appliance/predict.py" in drawn
    assert str(ROOT) not in drawn
    assert str(tmp_path) not in drawn
